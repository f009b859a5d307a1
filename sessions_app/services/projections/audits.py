"""The permission audit of each tool call."""

from django.db.models import QuerySet

from kheish_site.lib.redaction import redact
from sessions_app.models import Session, ToolCall
from sessions_app.services.projections.shape import View, time


def audits(session: Session) -> QuerySet[ToolCall]:
    """Return the calls of ``session`` that were decided on, newest first."""
    return ToolCall.objects.filter(run__session=session).exclude(permission={}).select_related("run")


def audit_view(row: ToolCall) -> View:
    """Return what was decided about one call, and what came of it."""
    return {
        **redact(row.permission),
        "run_id": row.run.run_id,
        "call_id": row.call_id,
        "tool_name": row.tool_name,
        "digest": row.digest,
        "state": row.state,
        "at": time(row.created_at),
    }
