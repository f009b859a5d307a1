"""Whether a person may do a verb: the one place where the console decides it.

``may`` decides whether a button is shown, ``require`` refuses the act itself: both by the same rule.
"""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from sessions_app.admin.caller import principal
from sessions_app.admin.verbs import Verb
from sessions_app.models import Role


def may(request: HttpRequest, verb: Verb, row: Any = None) -> bool:
    """Tell whether the person may do ``verb`` (to ``row``; None: to some row, or to make a new one)."""
    return not refusal(request, verb, row)


def refusal(request: HttpRequest, verb: Verb, row: Any = None) -> str:
    """Return why the person may not, naming the group to ask for, or ""."""
    who = principal(request)
    if not who.holds(verb.role):
        return _ask_for(verb.role, "look but not do this")
    return verb.refused(row, who) if row is not None else ""


def require(request: HttpRequest, verb: Verb, row: Any = None) -> None:
    """Refuse what the person may not do. Raises: PermissionDenied, in the words of ``refusal``."""
    if words := refusal(request, verb, row):
        raise PermissionDenied(words)


def require_view(request: HttpRequest) -> None:
    """Refuse people without any group. Raises: PermissionDenied."""
    if not principal(request).can_view:
        raise PermissionDenied(_ask_for(Role.VIEWER, "sign in but not look"))


def _ask_for(role: str, may_only: str) -> str:
    return f"You may {may_only}: ask for the group {role}."
