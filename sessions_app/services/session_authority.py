"""Who may decide how freely a session's tools run: whoever loosens that must hold the role admin."""

from collections.abc import Sequence
from typing import Any, Final

from kheish_site.lib.errors import Forbidden
from sessions_app.models import Role
from sessions_app.services import runtime_settings
from sessions_app.services.access import Principal

LOOSE_MODES: Final = frozenset({"acceptEdits", "bypassPermissions"})
"""Modes in which calls run that would otherwise ask a person."""


class PermissionSettingForbidden(Forbidden):
    """The setting lets calls run without a person, or changes whose word counts."""

    code, domain = "permission_setting_forbidden", "sessions"


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
