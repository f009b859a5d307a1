"""Fetching updates of polling connectors, each by one worker process at a time.

Every process wants every connector; a named right (``ticks``) decides which one polls, and runs out when that
process dies. When a connector is changed, paused or removed, its poller ends within a pass.
"""

import logging
import threading
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import close_old_connections, connection

from connectors_app.kinds.telegram.names import POLLING
from connectors_app.models import Connector
from connectors_app.services import connectors
from kheish_site.lib.transactions import release_connection
from sessions_app.services import ticks

if TYPE_CHECKING:
    from connectors_app.kinds.telegram.poller import Poller

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 5.0


class Polling:
    """``sessions_app.services.ports.Background``: the pollers of one worker process."""

    def __init__(self) -> None:
        self._worker = ""
        self._over = threading.Event()
        self._pollers: dict[int, Poller] = {}
        self._thread = threading.Thread(target=self._watch, name="telegram-polling", daemon=True)

    def start(self, worker: str) -> None:
        """Begin to look for connectors that poll."""
        self._worker = worker
        self._thread.start()

    def drain(self) -> None:
        """Fetch nothing more; the update in hand is finished."""
        self._over.set()

    def stop(self) -> None:
        """End the pollers and let other processes have their connectors at once."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)

    def _watch(self) -> None:
        try:
            while not self._over.is_set():
                try:
                    close_old_connections()
                    self._arrange()
                    release_connection()
                except Exception:  # the thread's edge: a database that is away comes back
                    logger.warning("polling failed", exc_info=True, extra={"action": "telegram.polling"})
                self._over.wait(min(settings.KHEISH.sweep_seconds, _life_seconds() / 3))
            self._end_all()
        finally:
            connection.close()

    def _arrange(self) -> None:
        """Begin and end pollers so that they match the connectors as they are now."""
        wanted = {row.pk: row for row in _pollable()}
        for pk, poller in list(self._pollers.items()):
            row = wanted.get(pk)
            if row is None or row.revision != poller.revision or not poller.is_alive():
                self._end(pk, give_back=row is None)
        for pk, row in wanted.items():
            if ticks.take(_right(row.name), self._worker, seconds=_life_seconds()):
                if pk not in self._pollers:
                    self._pollers[pk] = _poller(row, self._over)
                    self._pollers[pk].start()
            elif pk in self._pollers:
                self._end(pk, give_back=False)

    def _end(self, pk: int, *, give_back: bool) -> None:
        """End a poller; give its right back only if the thread has ended, else the right runs out."""
        poller = self._pollers.pop(pk)
        poller.end()
        poller.join(_PATIENCE_SECONDS)
        if give_back and not poller.is_alive():
            ticks.give_back(_right(poller.connector_name), self._worker)

    def _end_all(self) -> None:
        for poller in self._pollers.values():
            poller.end()
        for pk in list(self._pollers):
            try:
                self._end(pk, give_back=True)
            except Exception:  # the thread's edge: the right runs out by itself
                logger.warning("a right was kept", exc_info=True, extra={"action": "telegram.polling"})


def _pollable() -> list[Connector]:
    rows = connectors.everything().filter(kind="telegram", enabled=True, paused_at=None)
    return [row for row in rows if row.settings.get("ingress_mode") == POLLING]


def _poller(row: Connector, over: threading.Event) -> "Poller":
    from connectors_app.kinds.telegram.poller import Poller  # most workers poll nothing

    return Poller(row, over)


def _right(name: str) -> str:
    return f"telegram:{name}"


def _life_seconds() -> float:
    """Return how long a silent process keeps its right: as long as the leases of its sessions."""
    return max(settings.KHEISH.lease_seconds, 3.0)
