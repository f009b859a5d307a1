"""Examples of connectors, shown in the documentation and held to their schemas by a test."""

from typing import Any, Final

_AT: Final = "2026-11-21T10:07:26.123Z"

BODY: Final[dict[str, Any]] = {
    "settings": {"fixed_session_id": "incident-4821"},
    "secrets": {"bearer_token": {"value": "a long random token"}},
}
CONNECTOR: Final[dict[str, Any]] = {
    "kind": "http",
    "name": "alerts",
    "source": "daemon",
    "status": "ok",
    "problems": [],
    "settings": {"fixed_session_id": "incident-4821", "require_idempotency_key": True},
    "secrets": {
        "bearer_token": {"configured": True, "source": "inline"},
        "hmac_secret": {"configured": False},
    },
    "enabled": True,
    "paused_at": None,
    "activity": {
        "window_seconds": 3600,
        "accepted_events": 12,
        "duplicate_events": 3,
        "refused_events": 1,
        "last_event_at": _AT,
        "refusals": [
            {
                "code": "ingress_unauthorized",
                "count": 1,
                "detail": "the bearer token is missing or wrong",
                "last_at": _AT,
            }
        ],
    },
    "revision": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
TEST: Final[dict[str, Any]] = {
    "session_id": "incident-4821",
    "found_by": "fixed_session_id",
    "run_id": "run_01JD3Z5E4VQ6A3W8M9K2T7B1XC",
}
