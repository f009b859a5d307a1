"""The child processes this worker runs: one process a connector, whatever the number of workers.

A named right (``ticks``) decides which worker runs it; one that loses the right stops its process.
Definitions are compared at every pass: removed → stopped, changed → restarted, unchanged → untouched.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import close_old_connections, connection

from connectors_app.kinds.external.names import CHILD, GRACE_SECONDS, NAME, TOKEN
from connectors_app.models import Connector
from connectors_app.services import connectors
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import release_connection
from sessions_app.models import TickLease, Worker
from sessions_app.services import ticks

if TYPE_CHECKING:
    from connectors_app.kinds.external.child import ChildSidecar

logger = logging.getLogger(__name__)
_SLACK_SECONDS: Final = 3.0


@dataclass
class Kept:
    """A process of ours, the definition it was started with, and until when we hold the right to it."""

    child: "ChildSidecar"
    definition: str
    right: str
    until: float


class Sidecars:
    """The background part of a worker that keeps sidecars (``ports.Background``)."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._leaving = threading.Event()
        self._kept: dict[int, Kept] = {}
        self._worker = ""
        self._thread = threading.Thread(target=self._run, name="sidecars", daemon=True)

    def start(self, worker: str) -> None:
        """Begin to look for child processes to keep."""
        self._worker = worker
        self._thread.start()

    def drain(self) -> None:
        """Stop every process, so that another worker can take it over; interrupted requests are repeated."""
        self._leaving.set()
        self._wake.set()

    def stop(self) -> None:
        """Wait until every process has ended; one that is left after that dies with this worker."""
        self.drain()
        if self._thread.ident is not None:
            self._thread.join(GRACE_SECONDS + _SLACK_SECONDS)

    def _run(self) -> None:
        while not self._leaving.is_set():
            self._wake.clear()
            try:
                close_old_connections()
                self._reconcile()
                release_connection()
            except Exception:  # the thread's edge: a database that is away comes back
                logger.warning("sidecars not compared", exc_info=True, extra={"action": "sidecars"})
            self._let_go_of_lost()
            if not self._leaving.is_set():
                self._wake.wait(settings.KHEISH.sweep_seconds)
        self._end_all()
        connection.close()

    def _reconcile(self) -> None:
        """Make the running processes match the definitions."""
        rows = connectors.everything().filter(kind=NAME, enabled=True)
        wanted = {row.pk: row for row in rows if row.settings.get("mode") == CHILD}
        for pk, kept in list(self._kept.items()):
            if not kept.child.is_alive():
                del self._kept[pk]
                ticks.give_back(kept.right, self._worker)
            elif pk not in wanted or _definition(wanted[pk]) != kept.definition:
                kept.child.ask_to_stop()
            else:
                self._renew(kept)
        for pk, row in wanted.items():
            if pk not in self._kept and not self._leaving.is_set():
                self._take(row)

    def _take(self, connector: Connector) -> None:
        """Start the process when the right to it is free."""
        from connectors_app.kinds.external.child import ChildSidecar  # most workers keep none

        right = f"sidecar:{connector.pk}"
        began, life = time.monotonic(), settings.KHEISH.lease_seconds
        _free_from_the_dead(right)
        if not ticks.take(right, self._worker, seconds=life):
            return
        child = ChildSidecar(connector, worker=self._worker, ended=self._wake.set)
        self._kept[connector.pk] = Kept(child, _definition(connector), right, began + life)
        child.start()

    def _renew(self, kept: Kept) -> None:
        now, life = time.monotonic(), settings.KHEISH.lease_seconds
        if now < kept.until - life + settings.KHEISH.heartbeat_seconds:
            return
        if ticks.take(kept.right, self._worker, seconds=life):
            kept.until = now + life
        else:
            kept.child.ask_to_stop()

    def _let_go_of_lost(self) -> None:
        """Stop the processes whose right was not renewed in time: another worker may hold it by now."""
        for kept in self._kept.values():
            if time.monotonic() > kept.until:
                kept.child.ask_to_stop()

    def _end_all(self) -> None:
        for kept in self._kept.values():
            kept.child.ask_to_stop()
        for kept in self._kept.values():
            kept.child.join()
            try:
                ticks.give_back(kept.right, self._worker)
            except Exception:  # the thread's edge: the right runs out by itself
                logger.warning("right not given back", exc_info=True, extra={"action": "sidecars"})


def _definition(connector: Connector) -> str:
    """Return what a running process depends on: its definition and the token it was given."""
    try:
        token = sha256_hex(connectors.secret(connector, TOKEN))
    except KheishError:
        token = ""
    return f"{connector.revision}:{token}"


def _free_from_the_dead(right: str) -> None:
    """Give a right back for a worker that no longer exists; its processes died with it."""
    owner = TickLease.objects.filter(name=right).values_list("owner", flat=True).first()
    if owner and not Worker.objects.filter(name=owner).exists():
        ticks.give_back(right, owner)
