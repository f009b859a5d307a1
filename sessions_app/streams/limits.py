"""What one client may cost."""

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one connection. Daphne buffers without limit for a client that does not read, so the
    age and the size of a connection are what bounds its memory; the client resumes where it was."""

    max_seconds: float
    max_bytes: int
    heartbeat_seconds: float = 15.0
    buffer_events: int = 512
    """Live entries and deltas kept for a client that is behind; more, and it reads the rows again."""
    page_rows: int = 100
    max_topics: int = 100
    """Topics on one WebSocket."""
    max_message_bytes: int = 4096
    """Longest message a WebSocket client may send."""
    max_streams: int = 5000
    """Streams of one process; more are refused with 503."""


def configured() -> Limits:
    """Return the limits this installation runs with."""
    kheish = settings.KHEISH
    return Limits(max_seconds=kheish.stream_max_seconds, max_bytes=kheish.stream_max_bytes)
