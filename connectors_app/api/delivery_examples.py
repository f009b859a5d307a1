"""Examples of deliveries, shown in the documentation and held to their schemas by a test."""

from typing import Any, Final

_AT: Final = "2026-11-21T10:07:26.123Z"
_DIGEST: Final = "5f2b0c9c1c8f0b7d3c1a6f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a"
_NAME: Final = "http:address_sha256:5f2b0c9c1c8f0b7d"
_ERROR: Final = {"error_class": "terminal", "message": "the target answered 410"}

DELIVERY: Final[dict[str, Any]] = {
    "delivery_id": "dlv_01JD7ZKAA1B2C3D4E5F6G7H8J9",
    "session_id": "incident-4821",
    "run_id": "run_01JD7ZK4T9V2M8Q6W3X5Y7Z9AB",
    "kind": "output",
    "plugin": "http",
    "target": _NAME,
    "status": "dead_lettered",
    "attempts": 1,
    "last_error": _ERROR,
    "terminal_error": _ERROR,
    "content_size_bytes": 27,
    "parts_count": 0,
    "artifacts_count": 0,
    "created_at": _AT,
    "attempted_at": _AT,
    "dead_lettered_at": _AT,
}
DETAIL: Final[dict[str, Any]] = {
    **DELIVERY, "content": "The deploy is unstuck again", "parts": [], "attachments": [], "metadata": {},
}  # fmt: skip
NEW: Final[dict[str, Any]] = {
    "session_id": "incident-4821",
    "output": {"content": "The deploy is unstuck again"},
    "handle": {"type": "http", "url": "https://example.com/hook"},
}
QUEUED: Final[dict[str, Any]] = {
    name: DELIVERY[name]
    for name in (
        "delivery_id", "session_id", "kind", "plugin", "target", "content_size_bytes", "parts_count",
        "artifacts_count", "created_at",
    )
} | {"status": "pending", "attempts": 0}  # fmt: skip
REPLAYED: Final[dict[str, Any]] = {
    "dry_run": False,
    "items": [
        {
            "delivery_id": DELIVERY["delivery_id"],
            "action": "replayed",
            "replay_delivery_id": "dlv_01JD7ZKBB2C3D4E5F6G7H8J9K0",
        }
    ],
}
TARGET: Final[dict[str, Any]] = {
    "digest": _DIGEST,
    "target": _NAME,
    "plugin": "http",
    "queued": 3,
    "sending": False,
    "consecutive_failures": 3,
    "paused": False,
    "created_at": _AT,
    "next_at": _AT,
    "circuit_open_until": _AT,
    "last_attempt_at": _AT,
}
RESET: Final[dict[str, Any]] = {"dry_run": True, "targets": [TARGET]}
