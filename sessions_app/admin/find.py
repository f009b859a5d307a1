"""Where the page of something is, by kind and public id: what a cause or a hit of a search links to."""

from typing import Final

from django.urls import NoReverseMatch, reverse

_PAGES: Final = {
    "run": "sessions_app_run",
    "session": "sessions_app_session",
    "approval": "sessions_app_approval",
    "question": "sessions_app_userquestion",
    "decision": "sessions_app_operatordecision",
    "tool_call": "sessions_app_toolcall",
    "task": "sessions_app_shelltask",
    "asset": "sessions_app_asset",
    "persona": "sessions_app_persona",
    "route": "sessions_app_route",
    "worker": "sessions_app_worker",
    "person": "auth_user",
    "audit_entry": "sessions_app_auditentry",
    "delivery": "connectors_app_delivery",
    "connector": "connectors_app_connector",
}
_BY_NUMBER: Final = frozenset({"connector"})
"""Kinds whose pages are not found by a public id: for them the list is shown, searched."""


def page_of(kind: str, public_id: str) -> str:
    """Return the address of the page, "" where there is none."""
    name = _PAGES.get(kind)
    if name is None or not public_id:
        return ""
    try:
        if kind in _BY_NUMBER:
            return f"{reverse(f'admin:{name}_changelist')}?q={public_id.rpartition('/')[2]}"
        return reverse(f"admin:{name}_change", args=[public_id])
    except NoReverseMatch:
        return ""
