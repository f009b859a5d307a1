"""Permission decisions explained without making one: nothing is asked, stored or journalled."""

from collections.abc import Mapping
from typing import Any, Final

from sessions_app.models import Session
from sessions_app.services import permissions, runtime_settings, sessions
from sessions_app.tools import policy, registry
from sessions_app.tools.policy import Mode

_DRY_RUN: Final = {"hooks_evaluated": False, "hook_policy": "not_executed_in_dry_run"}


def check(
    tool_name: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    session_id: str = "",
    mode_override: str = "",
) -> dict[str, Any]:
    """Return what would happen with a call, and why. Raises: SessionMissing."""
    session = sessions.get(session_id) if session_id else None
    mode = _mode(session, mode_override)
    decision = policy.decide(tool_name=tool_name, mode=mode, rules=permissions.rules_for(session))
    tool = registry.get(tool_name)
    problems = registry.validate(tool, dict(arguments)) if tool is not None and arguments is not None else []
    return {
        "tool_name": tool_name,
        "known_tool": tool is not None,
        "input_problems": problems,
        **decision.as_dict(),
        **_DRY_RUN,
    }


def matrix(*, session_id: str = "") -> dict[str, Any]:
    """Return the decision of every tool in every mode, and the mode in force. Raises: SessionMissing."""
    session = sessions.get(session_id) if session_id else None
    table = policy.matrix(tool_names=registry.all_tools(), rules=permissions.rules_for(session))
    return {
        "effective_mode": _mode(session, ""),
        "tools": {
            name: {mode: decision.as_dict() for mode, decision in row.items()} for name, row in table.items()
        },
        **_DRY_RUN,
    }


def _mode(session: Session | None, override: str) -> Mode:
    own = session.permission_mode if session is not None else ""
    mode: Mode = override or own or runtime_settings.current().permission_mode  # type: ignore[assignment]
    return mode  # each of the three was checked when it was set
