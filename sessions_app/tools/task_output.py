"""task_output: what a shell task has written, and whether it has ended."""

import time

from kheish_site.lib.errors import NotFound
from sessions_app.tools.base import (
    KIB,
    Arguments,
    TaskView,
    ToolContext,
    ToolFailure,
    ToolResult,
    ToolSpec,
    object_schema,
)
from sessions_app.tools.fields import TASK_ID, integer

DEFAULT_TAIL_BYTES = 8 * KIB
MAX_TAIL_BYTES = 256 * KIB
DEFAULT_WAIT_MS = 30_000
LOOK_SECONDS = 0.25


class TaskOutput:
    """Read a task's output, by default once it has ended."""

    spec = ToolSpec(
        name="task_output",
        description=(
            "Read the newest output of a background task. Waits for its end up to timeout_ms (30000) unless "
            "wait is false. Success means that the output was read, not that the command succeeded: see "
            "its exit code."
        ),
        schema=object_schema(
            ("task_id",),
            task_id=TASK_ID,
            wait={"type": "boolean"},
            timeout_ms=integer(0, 90_000, "How long to wait for its end; 30000 when absent."),
            tail_bytes=integer(1, MAX_TAIL_BYTES, "How much of the end to show; 8192 when absent."),
            full={"type": "boolean", "description": "Show all that is kept."},
        ),
        effect="read",
        sandbox="inherited",
        timeout_seconds=95.0,
        output_limit_bytes=MAX_TAIL_BYTES,
        allows_parallel=True,
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Return the output with a line on the state of the task."""
        waits = arguments.get("wait", True)
        seconds = arguments.get("timeout_ms", DEFAULT_WAIT_MS) / 1000 if waits else 0.0
        try:
            task = _await(arguments["task_id"], seconds, context)
            output = context.tasks.output(
                task.task_id,
                tail_bytes=arguments.get("tail_bytes", DEFAULT_TAIL_BYTES),
                full=arguments.get("full", False),
            )
        except NotFound as error:
            raise ToolFailure("task_not_found", f"{arguments['task_id']}: no such task") from error
        running = task.status == "in_progress"
        status = output.retrieval_status if not running else "timeout" if waits else "not_ready"
        about = {
            "task_id": task.task_id,
            "retrieval_status": status,
            "status": task.status,
            "exit_code": task.exit_code,
            "terminal_reason": task.terminal_reason,
            "truncated": output.truncated,
            "total_bytes": output.total_bytes,
        }
        line = ", ".join(f"{name} {value}" for name, value in about.items() if value not in (None, ""))
        return ToolResult(content=f"[{line}]\n{output.text}", data=about)


def _await(task_id: str, seconds: float, context: ToolContext) -> TaskView:
    """Return the task once it ended, ``seconds`` are over or the run is cancelled."""
    task = context.tasks.get(task_id)
    deadline = time.monotonic() + seconds
    while task.status == "in_progress" and not context.cancelled.is_set():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        task = context.tasks.wait(task_id, min(left, LOOK_SECONDS))
    return task
