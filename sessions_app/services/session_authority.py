"""Who may decide how freely a session's tools run, and what its agent may see and use.

Whoever loosens that must hold the role admin.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kheish_site.lib.errors import Forbidden
from sessions_app.models import Role
from sessions_app.services import runtime_settings, scopes
from sessions_app.services.principal import Principal

LOOSE_MODES: Final = frozenset({"acceptEdits", "bypassPermissions"})
"""Modes in which calls run that would otherwise ask a person."""


class PermissionSettingForbidden(Forbidden):
    """The setting lets calls run without a person, or changes whose word counts."""

    code, domain = "permission_setting_forbidden", "sessions"


class ScopeWideningForbidden(Forbidden):
    """The scope lets the session's agent see or use more than the one it has."""

    code, domain = "scope_widening_forbidden", "sessions"


def check_scope_change(principal: Principal, *, to: Mapping[str, Any], was: Mapping[str, Any]) -> None:
    """Raise ScopeWideningForbidden unless the caller may make a session's effective scope ``to``.

    Operators narrow. They do make sessions of any scope, but a session has its talk, its workspace and the
    conversations bound to it: what an administrator or a connector's policy kept from those stays so.
    """
    if not principal.can_administer and scopes.widens(to, was):
        raise ScopeWideningForbidden("a wider scope needs the role admin", required_role=str(Role.ADMIN))


def check_mode_change(principal: Principal, mode: str) -> None:
    """Raise PermissionSettingForbidden unless the caller may set a session's mode to ``mode``.

    ``""`` goes back to the daemon's, which may be looser than what an administrator gave the session.
    """
    check_permission_settings(principal, mode=mode or runtime_settings.current().permission_mode)


def check_permission_settings(
    principal: Principal, *, mode: str = "", rules: Sequence[dict[str, Any]] | None = None
) -> None:
    """Raise PermissionSettingForbidden unless the caller may give a session this mode or these rules.

    Without this an operator could undo, session by session, the approvals an administrator asked for.
    """
    if principal.can_administer:
        return
    if mode in LOOSE_MODES:
        raise PermissionSettingForbidden(f"{mode} needs the role admin", required_role=str(Role.ADMIN))
    if rules is not None:
        raise PermissionSettingForbidden(
            "permission rules need the role admin", required_role=str(Role.ADMIN)
        )
