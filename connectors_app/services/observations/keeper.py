"""The background work on observations: firing schedules and purging what is old.

Runs in every worker process; a named right admits one of them at a time. Losing it midway costs nothing: each
fire and each purge is safe against another worker doing the same.
"""

import logging
import threading
import time
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections

from connectors_app.services.observations import retention, schedules
from kheish_site.lib.transactions import release_connection
from sessions_app.services import ticks

logger = logging.getLogger(__name__)

RIGHT: Final = "observations"
_PURGE_SECONDS: Final = 30.0
_JOIN_SECONDS: Final = 5.0


class Keeper:
    """Background work of one worker process (``sessions_app.services.ports.Background``)."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._draining = False
        self._worker = ""
        self._purged: float | None = None
        self._thread = threading.Thread(target=self._watch, name="observations", daemon=True)

    def start(self, worker: str) -> None:
        """Begin to look for what is due."""
        self._worker = worker
        self._thread.start()

    def drain(self) -> None:
        """Begin nothing new; called in a signal handler."""
        self._draining = True

    def stop(self) -> None:
        """End, and let another worker take over at once."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def tick(self) -> None:
        """Fire what is due and, now and then, purge; nothing while another worker has the right."""
        period = settings.KHEISH.sweep_seconds
        if self._draining or not ticks.take(RIGHT, self._worker, seconds=max(3 * period, 5)):
            return
        schedules.fire_due()
        if self._purged is None or time.monotonic() - self._purged >= _PURGE_SECONDS:
            self._purged = time.monotonic()
            retention.purge()

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                close_old_connections()
                self.tick()
                release_connection()
            except Exception:  # the thread's edge: a database that is away comes back
                logger.warning("a round of observations failed", exc_info=True, extra={"action": RIGHT})
            self._ended.wait(settings.KHEISH.sweep_seconds)
        self._leave()

    def _leave(self) -> None:
        try:
            ticks.give_back(RIGHT, self._worker)
        except DatabaseError:  # the right runs out by itself
            logger.warning("a right was not given back", exc_info=True, extra={"action": RIGHT})
        finally:
            close_old_connections()
