"""task_stop: end a shell task."""

from kheish_site.lib.errors import NotFound
from sessions_app.tools.base import Arguments, ToolContext, ToolFailure, ToolResult, ToolSpec, object_schema
from sessions_app.tools.fields import TASK_ID


class TaskStop:
    """Ask a task to end; one that has ended stays as it is."""

    spec = ToolSpec(
        name="task_stop",
        description="Stop a background task and everything it started. A task that has ended is left alone.",
        schema=object_schema(("task_id",), task_id=TASK_ID, reason={"type": "string", "maxLength": 500}),
        effect="idempotent",
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Return the state the task is in now, which may still be ``in_progress``."""
        try:
            task = context.tasks.stop(arguments["task_id"], arguments.get("reason", ""))
        except NotFound as error:
            raise ToolFailure("task_not_found", f"{arguments['task_id']}: no such task") from error
        return ToolResult(
            content=f"{task.task_id} is {task.status}",
            data={"task_id": task.task_id, "status": task.status, "exit_code": task.exit_code},
        )
