"""Server-sent events on the wire (WHATWG HTML, "Server-sent events")."""

import json
from functools import lru_cache
from typing import Any, Final

from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import Event
from sessions_app.streams.sources import DELTA_KIND, ENDED_KIND

HEARTBEAT: Final = b": still here\n\n"


def first_frame(cursor: object) -> bytes:
    """Return what a stream begins with: how soon to come back, and where it begins.

    So whoever is cut off before the first event does not miss what comes meanwhile.
    """
    return b"retry: 1000\nid: %s\n\n" % str(cursor).encode()


def event_frame(cursor: object, event: Event) -> bytes:
    """Return the frame of a journal entry; ``cursor`` is what ``Last-Event-ID`` will say."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(cursor).encode(), event.kind.encode(), event.data)


@lru_cache(maxsize=64)
def delta_frame(delta: Delta) -> bytes:
    """Return the frame of live text, made once for all its readers.

    It has no id: resuming goes by journal entries alone.
    """
    return _frame(DELTA_KIND, delta_data(delta))


def ended_frame(run_id: str, status: str) -> bytes:
    """Return the last frame of a run's stream."""
    return _frame(ENDED_KIND, {"run_id": run_id, "status": status})


def delta_data(delta: Delta) -> dict[str, Any]:
    """Return what clients see of live text."""
    return {
        "run_id": delta.run_id,
        "session_id": delta.session_id,
        "step": delta.step,
        "attempt": delta.attempt,
        "index": delta.index,
        "text": delta.text,
    }


def _frame(name: str, data: dict[str, Any]) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode("utf-8", "replace")
