"""Examples of captures, shown in the documentation and held to their schemas by a test."""

from typing import Any, Final

_AT: Final = "2026-11-21T10:07:26.123Z"
Example = dict[str, Any]
_PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
)

NEW_SOURCE: Final[Example] = {"source_id": "desk-screen", "kind": "screen_snapshot", "retention_days": 3}
TOKEN: Final[Example] = {
    "token_id": "otk_01JD7ZK4T9V2M8Q6W3X5Y7Z9AB",
    "created_by": "local",
    "created_at": _AT,
}
SOURCE: Final[Example] = {
    **NEW_SOURCE,
    "sensitive": True,
    "retention_count": 512,
    "retention_bytes": 536_870_912,
    "burst_count": 120,
    "burst_seconds": 60,
    "allow_raw_purge": False,
    "allow_materialization": True,
    "allow_output_delivery": False,
    "enabled": True,
    "observations": {"count": 12, "size_bytes": 1_204_112, "last_received_at": _AT},
    "tokens": [TOKEN],
    "revision": 1,
    "created_by": "local",
    "created_at": _AT,
    "updated_at": _AT,
}
MADE: Final[Example] = {**SOURCE, "token": "ko_…"}
ROTATED: Final[Example] = {**TOKEN, "source_id": "desk-screen", "token": "ko_…"}
REVOKED: Final[Example] = {"source_id": "desk-screen", "revoked": 2}
UPLOAD: Final[Example] = {
    "media_type": "image/png",
    "content_base64": _PIXEL,
    "stream_id": "left-display",
    "captured_at": _AT,
    "metadata": {"window": "Grafana"},
}
OBSERVATION: Final[Example] = {
    "observation_id": "obs_01JD7ZK5D0C4R8T1N6B2H3J4K5",
    "source_id": "desk-screen",
    "kind": "screen_snapshot",
    "media_type": "image/png",
    "size_bytes": 70,
    "sensitive": True,
    "withheld": False,
    "file_name": "file.png",
    "metadata": {"window": "Grafana"},
    "asset_id": "asset_01JD7ZK6A1B2C3D4E5F6G7H8J9",
    "sha256": "5f2b0c9c1c8f0b7d3c1a6f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a",
    "stream_id": "left-display",
    "captured_at": _AT,
    "received_at": _AT,
}
MATERIALIZE: Final[Example] = {
    "session_id": "incident-4821",
    "prompt": "Is anything red on this dashboard?",
    "selector": {"type": "latest_from_source", "source_id": "desk-screen"},
    "max_observations": 1,
    "lookback_seconds": 300,
}
NEW_SCHEDULE: Final[Example] = {
    "session_id": "incident-4821",
    "prompt": "Is anything red on this dashboard?",
    "interval_seconds": 600,
    "max_observations": 1,
}
SCHEDULE: Final[Example] = {
    "schedule_id": "osc_01JD7ZK7A1B2C3D4E5F6G7H8J9",
    "source_id": "desk-screen",
    "session_id": "incident-4821",
    "interval_seconds": 600,
    "prompt": "Is anything red on this dashboard?",
    "stream_id": "",
    "max_observations": 1,
    "lookback_seconds": 0,
    "raw_asset_policy": "auto",
    "fail_when_empty": True,
    "new_only": True,
    "explicit_targets": 0,
    "next_due_at": _AT,
    "last_fired_at": _AT,
    "last_run_id": "run_01JD7ZK4T9V2M8Q6W3X5Y7Z9AB",
    "last_outcome": "fired",
    "created_by": "local",
    "created_at": _AT,
}
