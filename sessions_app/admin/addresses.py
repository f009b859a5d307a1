"""The addresses of pages: of a row, of a list, or of a thing known only by kind and public id."""

from typing import Any, Final

from django.contrib import admin
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

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


def of(row: Model) -> str:
    """Return the address of the page of ``row``."""
    return reverse(f"admin:{_name(type(row))}_change", args=[key(row)])


def of_verb(row: Model, name: str) -> str:
    """Return the address of the page of the verb ``name`` on ``row``."""
    return reverse(f"admin:{_name(type(row))}_do", args=[key(row), name])


def key(row: Model) -> str:
    """Return the key of ``row`` in addresses: its public id, or its primary key where it has none."""
    page: Any = admin.site.get_model_admin(type(row))
    return str(getattr(row, page.public_id) if page.public_id else row.pk)


def of_list(model: type[Model], **filters: Any) -> str:
    """Return the address of a list, filtered."""
    base = reverse(f"admin:{_name(model)}_changelist")
    return f"{base}?{urlencode(filters)}" if filters else base


def of_id(kind: str, public_id: str) -> str:
    """Return the address of the page of the thing with this kind and id, "" where there is none."""
    name = _PAGES.get(kind)
    if name is None or not public_id:
        return ""
    try:
        if kind in _BY_NUMBER:
            return f"{reverse(f'admin:{name}_changelist')}?{urlencode({'q': public_id.rpartition('/')[2]})}"
        return reverse(f"admin:{name}_change", args=[public_id])
    except NoReverseMatch:
        return ""


def _name(model: type[Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"
