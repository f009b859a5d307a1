"""Examples of configuration, shown in the documentation and held to their schemas by a test."""

from typing import Any, Final

_AT: Final = "2026-11-21T10:07:26.123Z"
Example = dict[str, Any]

NEW_PERSONA: Final[Example] = {
    "persona_id": "sre-oncall",
    "display_name": "SRE on call",
    "soul": "You keep production healthy. Look before you touch; ask before you change.",
    "owner": "platform",
}
PERSONA: Final[Example] = {
    **NEW_PERSONA,
    "revision": 1,
    "status": "active",
    "capability_scope": {},
    "default_skills": [],
    "metadata": {},
    "revisions": [
        {
            "revision": 1,
            "display_name": "SRE on call",
            "status": "active",
            "sessions": 0,
            "created_by": "local",
            "created_at": _AT,
        }
    ],
    "sessions": 0,
    "created_at": _AT,
    "updated_at": _AT,
}
NEW_ROUTE: Final[Example] = {
    "route_id": "main",
    "driver": "openai",
    "base_url": "http://127.0.0.1:8000/v1",
    "model": "gpt-4o-mini",
    "auth_ref": "openai-main",
    "fallbacks": [],
    "default": True,
}
ROUTE: Final[Example] = {
    **NEW_ROUTE,
    "options": {},
    "status": "ok",
    "problems": [],
    "revision": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
NEW_SECRET: Final[Example] = {"slot_id": "openai-main", "provider": "openai", "value": "the key"}
SECRET: Final[Example] = {
    "slot_id": "openai-main",
    "provider": "openai",
    "mode": "api_key",
    "state": "stored",
    "revision": 1,
    "referenced_by": ["route:main"],
    "created_at": _AT,
    "updated_at": _AT,
}
NEW_TOKEN: Final[Example] = {"name": "ci", "role": "operator", "rights": ["decide_high_risk"]}
TOKEN: Final[Example] = {
    "token_id": "tok_01JD7ZK4T9V2M8Q6W3X5Y7Z9AB",
    "name": "ci",
    "role": "operator",
    "rights": ["decide_high_risk"],
    "status": "active",
    "created_by": "local",
    "created_at": _AT,
}
RUNTIME: Final[Example] = {
    "default_route": "main",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "permission_mode": "default",
    "permission_rules": {"project": [], "user": []},
    "unknown_effects": "ask",
    "system_prompt": {"override_prompt": "", "custom_prompt": "", "append_prompt": ""},
    "routes": [ROUTE],
    "config": {"revision": 1, "updated_at": _AT},
}
RUNTIME_REVISION: Final[Example] = {
    "revision": 1,
    "setting": "permission-mode",
    "values": {"permission_mode": "acceptEdits"},
    "created_by": "local",
    "created_at": _AT,
}
DECISION: Final[Example] = {
    "decision": "ask",
    "base_decision": "ask",
    "effective_mode": "default",
    "mode_effect": "",
    "matched_rule_pattern": "bash",
    "matched_rule_origin": "static",
    "matched_rule_scope": "default",
    "reason": "runs a shell command",
    "required_votes": 1,
    "roles": ["operator", "admin"],
    "requester_may_vote": True,
    "expires_after_seconds": None,
}
_DRY_RUN: Final[Example] = {"hooks_evaluated": False, "hook_policy": "not_executed_in_dry_run"}
CHECK: Final[Example] = {
    "tool_name": "bash",
    "known_tool": True,
    "input_problems": [],
    **DECISION,
    **_DRY_RUN,
}
MATRIX: Final[Example] = {
    "effective_mode": "default",
    "tools": {"bash": {"default": DECISION}},
    **_DRY_RUN,
}
STATUS: Final[Example] = {
    "status": "ready",
    "ready": True,
    "version": "0.1.0",
    "profile": "embedded",
    "state_dir": "/var/lib/kheish",
    "uptime_seconds": 3600,
    "runs": {"queued": 0, "running": 1},
    "waiting": {"approvals": 1, "questions": 0, "decisions": 0},
    "workers": [
        {
            "name": "worker-1",
            "host": "ops-1",
            "pid": 4242,
            "slots": 32,
            "draining": False,
            "alive": True,
            "started_at": _AT,
            "heartbeat_at": _AT,
        }
    ],
    "runtime": {
        "default_route": "main",
        "model": "gpt-4o-mini",
        "permission_mode": "default",
        "revision": 1,
    },
    "provider_readiness": {"status": "ok", "problems": []},
    "health": {"ok": True, "warnings": []},
    "time": _AT,
}


def page_of(item: Example) -> Example:
    """Return a page that holds ``item`` alone."""
    return {
        "items": [item],
        "pagination": {
            "limit": 50,
            "total_count": 1,
            "has_more": False,
            "next_cursor": None,
            "order": "asc",
        },
    }
