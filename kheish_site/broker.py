"""The broker of Celery's consumer, in its own process: kombu's, which hears sooner that it is to stop."""

from typing import Any

from kombu.transport import memory

LONGEST_WAIT_SECONDS = 0.2


class Transport(memory.Transport):
    """Celery waits 2 s for a message, and twice more when it is asked to leave; nothing here needs that."""

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Deliver what is there, waiting at most ``LONGEST_WAIT_SECONDS``."""
        wait = min(timeout or LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        return super().drain_events(connection, timeout=wait, **kwargs)  # type: ignore[no-untyped-call]
