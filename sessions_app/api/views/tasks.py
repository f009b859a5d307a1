"""Shell tasks of a session: listed, read, waited for, stopped."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from kheish_site.lib.redaction import redact
from sessions_app.api import examples, filters
from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers import tasks as shapes
from sessions_app.api.serializers.base import page_of
from sessions_app.api.serializers.sessions import ReasonBody
from sessions_app.api.views.base import KheishView
from sessions_app.models import ShellTask, TaskStatus
from sessions_app.services import patience, projections, sessions, shell_tasks


class Tasks(KheishView):
    """``/v1/sessions/{session_id}/tasks``."""

    query_serializer = shapes.TaskQuery

    @describe(
        "tasks_list",
        "List a session's shell tasks, newest first",
        answer=page_of(shapes.TaskView),
        example=examples.page(examples.TASK),
    )
    def get(self, request: Request, session_id: str) -> Response:
        """One page of tasks."""
        session = sessions.get(session_id)
        rows = filters.narrow(filters.TaskFilter, self.query, projections.task_rows().filter(session=session))
        return self.page(rows, lambda found: [projections.task_view(row) for row in found])


class OneTask(KheishView):
    """``/v1/sessions/{session_id}/tasks/{task_id}``."""

    @describe("tasks_get", "Get a shell task", answer=shapes.TaskView, example=examples.TASK)
    def get(self, request: Request, session_id: str, task_id: str) -> Response:
        """The task."""
        return Response(projections.task_view(shell_tasks.get(session_id, task_id)))


class TaskOutput(KheishView):
    """``/v1/sessions/{session_id}/tasks/{task_id}/output``."""

    query_serializer = shapes.TaskOutputQuery

    @describe("tasks_output", "Read what a shell task has written", answer=shapes.TaskOutputView)
    def get(self, request: Request, session_id: str, task_id: str) -> Response:
        """The newest output, after the end of the task if asked to wait for it."""
        query, task = self.query, shell_tasks.get(session_id, task_id)
        if query["wait"] and task.status == TaskStatus.IN_PROGRESS:
            busy = ShellTask.objects.filter(pk=task.pk, status=TaskStatus.IN_PROGRESS)
            patience.until(lambda: not busy.exists(), query["timeout_ms"] / 1000)
            task = shell_tasks.get(session_id, task_id)
        found = shell_tasks.output(task, tail_bytes=query["tail_bytes"], full=query["full"])
        view: dict[str, Any] = {
            "retrieval_status": _retrieval(task, waited=query["wait"]),
            "task": projections.task_view(task),
            "output_text": redact(found.text),
            "output_truncated": found.truncated,
            "output_size_bytes": found.size_bytes,
            "output_total_bytes": found.total_bytes,
            "output_rotated": found.rotated,
        }
        return Response(view)


def _retrieval(task: ShellTask, *, waited: bool) -> str:
    if task.status != TaskStatus.IN_PROGRESS:
        return "success"
    return "timeout" if waited else "not_ready"


class TaskStop(KheishView):
    """``/v1/sessions/{session_id}/tasks/{task_id}/stop``."""

    @describe(
        "tasks_stop",
        "Stop a shell task",
        body=ReasonBody,
        answer=shapes.TaskView,
        body_example={"reason": "too long"},
        example=examples.TASK,
        description="Asks its worker, so the task may still be in progress here. An ended task is unchanged.",
    )
    @idempotent
    def post(self, request: Request, session_id: str, task_id: str) -> Response:
        """Ask it to end."""
        reason = self.body(ReasonBody)["reason"]
        task = shell_tasks.request_stop(shell_tasks.get(session_id, task_id), reason)
        return Response(projections.task_view(task))
