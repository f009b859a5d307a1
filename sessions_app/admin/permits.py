"""May this person do that? The one place where the console asks, for buttons and for deeds alike.

A button is shown when ``may`` says yes, a deed is refused by ``require``: both ask the same question.
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
    return "" if principal(request).holds(verb.role) else _ask_for(verb.role, "look but not do this")


def require(request: HttpRequest, verb: Verb, row: Any = None) -> None:
    """Raises: PermissionDenied, in the words of ``refusal``."""
    if words := refusal(request, verb, row):
        raise PermissionDenied(words)


def require_view(request: HttpRequest) -> None:
    """Raises: PermissionDenied for people without any group."""
    if not principal(request).can_view:
        raise PermissionDenied(_ask_for(Role.VIEWER, "sign in but not look"))


def _ask_for(role: str, may_only: str) -> str:
    return f"You may {may_only}: ask for the group {role}."
