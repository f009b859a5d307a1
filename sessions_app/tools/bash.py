"""bash: a shell command, waited for or in the background, as a task of the daemon."""

import os
import time
from pathlib import Path
from typing import Final

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
from sessions_app.tools.fields import PATH
from sessions_app.tools.shell_process import build_environment
from sessions_app.tools.workspace import Workspace

TAIL_BYTES: Final = 64 * KIB
LOOK_SECONDS: Final = 0.25
MAX_COMMAND_BYTES: Final = 100_000


class Bash:
    """Run a command. Nobody can know after a crash what it did, so it is never run twice."""

    spec = ToolSpec(
        name="bash",
        description=(
            "Run a command with bash in the workspace and return its output and exit code. What it leaves "
            "running is killed when it ends: use run_in_background for servers and long jobs, then "
            "task_output and task_stop. Standard input is empty."
        ),
        schema=object_schema(
            ("command",),
            command={"type": "string", "minLength": 1, "maxLength": MAX_COMMAND_BYTES},
            workdir=PATH | {"description": "Folder of the workspace to run in; the root when absent."},
            run_in_background={"type": "boolean"},
            description={"type": "string", "maxLength": 500, "description": "What the command is for."},
        ),
        effect="opaque",
        sandbox="workspace_write",
        timeout_seconds=180.0,
        output_limit_bytes=TAIL_BYTES,
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Start the command, and wait for it unless it runs in the background."""
        background = arguments.get("run_in_background", False)
        task_id = context.tasks.start(
            command=_command(arguments),
            workdir=_workdir(arguments.get("workdir", "."), context.workspace),
            env=build_environment(context.env_allowlist, os.environ),
            description=arguments.get("description", ""),
            background=background,
        )
        if background:
            return ToolResult(
                content=f"started in the background as {task_id}",
                data={"task_id": task_id, "background": True},
            )
        return _result(self._wait(task_id, context), context)

    def _wait(self, task_id: str, context: ToolContext) -> TaskView:
        """Wait for the end of the command; when the run or its time ends first, stop it."""
        deadline = time.monotonic() + self.spec.timeout_seconds
        while True:
            task = context.tasks.wait(task_id, LOOK_SECONDS)
            if task.status != "in_progress":
                return task
            if context.cancelled.is_set():
                return context.tasks.stop(task_id, "cancelled")
            if time.monotonic() > deadline:
                return context.tasks.stop(task_id, "timeout")


def _command(arguments: Arguments) -> str:
    command: str = arguments["command"]
    if len(command.encode()) > MAX_COMMAND_BYTES:
        raise ToolFailure("invalid_arguments", f"the command is longer than {MAX_COMMAND_BYTES} bytes")
    return command


def _workdir(path: str, root: Path) -> Path:
    with Workspace(root) as workspace, workspace.locate(path) as location:
        if not location.is_directory:
            raise ToolFailure("not_a_folder", f"{path}: no such folder")
        return workspace.root / location.relative


def _result(task: TaskView, context: ToolContext) -> ToolResult:
    output = context.tasks.output(task.task_id, tail_bytes=TAIL_BYTES, full=False)
    left_out = output.total_bytes - len(output.text.encode())
    cut = f"[the first {left_out} bytes are not shown]\n" if output.truncated else ""
    line_end = "\n" if output.text and not output.text.endswith("\n") else ""
    failed = task.status != "completed"
    return ToolResult(
        content=f"{cut}{output.text}{line_end}[{_ending(task)}]",
        is_error=failed,
        error_code=_error_code(task) if failed else "",
        data={"task_id": task.task_id, "exit_code": task.exit_code, "terminal_reason": task.terminal_reason},
    )


def _ending(task: TaskView) -> str:
    reason = "" if task.terminal_reason in ("", "exited") else f", {task.terminal_reason}"
    return f"exit code {task.exit_code}{reason}"


def _error_code(task: TaskView) -> str:
    return "command_stopped" if task.status == "cancelled" else "command_failed"
