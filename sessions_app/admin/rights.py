"""What the person in front of a page may do: asked by templates before they show a button.

The services have the last word and say the same; here it is only said earlier. Templates load ``rights``.
"""

from django.http import HttpRequest

from sessions_app.admin import caller
from sessions_app.models import Approval, Right, Role
from sessions_app.services import approvals
from sessions_app.services.access import Principal
from sessions_app.services.approvals import Behavior

_GROUPS = {
    Role.VIEWER: "You may look but not decide: ask for the operator group.",
    "": "You may not look at this: ask for the viewer group.",
}


def may(request: HttpRequest, what: str) -> bool:
    """Tell whether the person holds a role or a right, by its name: ``operator``, ``view_unredacted``."""
    who = caller.principal(request)
    return who.may(Right(what)) if what in Right.values else who.holds(Role(what))


def may_allow(row: Approval, principal: Principal) -> bool:
    """Tell whether this person's yes would count on this approval."""
    return principal.can_operate and approvals.refusal(row, row.run, "allow", principal) is None


def may_deny(row: Approval, principal: Principal) -> bool:
    """Tell whether this person's no would count on this approval."""
    return principal.can_operate and approvals.refusal(row, row.run, "deny", principal) is None


def why_not(request: HttpRequest, row: Approval, behavior: Behavior = "allow") -> str:
    """Return the sentence that stands in place of a button, "" where the button may stand."""
    who = caller.principal(request)
    if not who.can_operate:
        return _GROUPS["" if not who.can_view else Role.VIEWER]
    refused = approvals.refusal(row, row.run, behavior, who)
    return f"Not by you: {refused.detail}." if refused is not None else ""
