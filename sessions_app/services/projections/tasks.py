"""Shell tasks as clients see them."""

from django.db.models import QuerySet

from kheish_site.lib.redaction import redact
from sessions_app.models import ShellTask
from sessions_app.services import reply_targets
from sessions_app.services.projections.shape import View, known, time


def task_rows() -> QuerySet[ShellTask]:
    """Return all tasks with what their views need."""
    return ShellTask.objects.select_related("session", "run", "tool_call")


def task_view(row: ShellTask) -> View:
    """Return one task of ``task_rows``; command and description are redacted."""
    stop = known(stop_requested_at=time(row.stop_requested_at), stop_reason=redact(row.stop_reason) or None)
    told = reply_targets.shown(row.run.reply_targets) if row.background else []
    return {
        "task_id": row.task_id,
        "session_id": row.session.session_id,
        "run_id": row.run.run_id,
        "call_id": row.tool_call.call_id,
        "command": redact(row.command),
        "description": redact(row.description),
        "background": row.background,
        "status": row.status,
        **known(exit_code=row.exit_code),
        "metadata": redact(row.metadata)
        | {"stop_requested": row.stop_requested_at is not None}
        | stop
        | known(reply_targets=told or None),
        "output_size_bytes": row.output_size_bytes,
        "output_total_bytes": row.output_total_bytes,
        "output_rotated": row.output_rotated,
        "started_at": time(row.started_at),
        **known(finished_at=time(row.finished_at)),
    }
