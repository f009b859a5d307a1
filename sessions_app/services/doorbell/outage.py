"""What keeps a dead broker from slowing every commit: one failure, one log line, then a pause."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

logger: Final = logging.getLogger(__name__)
PAUSE_SECONDS: Final = 5.0


class Outage:
    """Remembers that a peer is down. While it is, attempts are skipped but for one every pause."""

    def __init__(
        self, peer: str, *, pause_seconds: float = PAUSE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._peer = peer
        self._pause = pause_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._down = False
        self._next_try = 0.0

    def attempt(self, action: Callable[[], Any], failures: tuple[type[Exception], ...]) -> bool:
        """Run ``action`` unless the peer is taken to be down; tell whether it succeeded."""
        if not self._may_try():
            return False
        try:
            action()
        except failures as error:
            self._note_failure(error)
            return False
        self._note_success()
        return True

    def _may_try(self) -> bool:
        if not self._down:
            return True
        with self._lock:
            if self._clock() < self._next_try:
                return False
            self._next_try = self._clock() + self._pause  # one thread tries, the others go on
            return True

    def _note_failure(self, error: Exception) -> None:
        with self._lock:
            was, self._down = self._down, True
            self._next_try = self._clock() + self._pause
        if not was:
            logger.warning(
                "%s cannot be reached; the sweep finds what is not announced: %s",
                self._peer,
                error,
                extra={"action": "doorbell.lost"},
            )

    def _note_success(self) -> None:
        if not self._down:
            return
        with self._lock:
            self._down = False
        logger.info("%s is back", self._peer, extra={"action": "doorbell.restored"})
