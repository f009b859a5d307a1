"""Looking at what pages mask: the exact arguments and result of one call, for whoever holds the right.

Every look is in the audit log before anything is shown.
"""

from typing import Any

from kheish_site.lib.errors import NotFound
from kheish_site.lib.transactions import write
from sessions_app.models import Right, ToolCall
from sessions_app.services import access, audit
from sessions_app.services.principal import Principal


class CallMissing(NotFound):
    """No such call."""

    code, domain = "tool_call_not_found", "runs"


def look(call_id: str, *, principal: Principal, reason: str = "") -> dict[str, Any]:
    """Return a call's exact arguments and result, and record who looked and why.

    What the call's digest was made of: an approval is of exactly this. Raises: CallMissing,
    Forbidden(right_missing).
    """
    access.require_right(principal, Right.VIEW_UNREDACTED)
    row = ToolCall.objects.select_related("run__session", "stored").filter(call_id=call_id).first()
    if row is None:
        raise CallMissing(f"there is no tool call {call_id}")
    with write():
        audit.record("tool_call.viewed_unredacted", "tool_call", call_id, reason=reason, principal=principal)
    return {
        "call_id": row.call_id,
        "run_id": row.run.run_id,
        "session_id": row.run.session.session_id,
        "tool_name": row.tool_name,
        "state": row.state,
        "digest": row.digest,
        "input": row.arguments,
        "result": row.stored.content if row.stored is not None else row.content,
    }
