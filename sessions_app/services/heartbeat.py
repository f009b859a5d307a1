"""One heartbeat a worker process: it renews all its leases and hears requests to stop.

A lease is renewed while the thread that drives the session lives; when that thread is gone the lease
runs out and another worker takes the session over. No transaction is open between beats.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections

from kheish_site.lib.transactions import release_connection
from sessions_app.models import Run, RunStatus, Session
from sessions_app.services import leases
from sessions_app.services.writes import Lease

logger = logging.getLogger(__name__)
_BEAT_SECONDS: Final = 0.5


class Hold:
    """One driven session, as the driving thread and the heartbeat share it.

    ``stop`` is set when the run should stop at once: somebody asked, or the lease was lost.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.stop = threading.Event()
        self.lost = False
        self.thread = threading.current_thread()


class Heartbeat:
    """The leases of one worker. ``draining`` is set when the worker should take no more steps."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.draining = threading.Event()
        self._holds: dict[int, Hold] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._since_renewal = 0.0

    @contextmanager
    def hold(self, lease: Lease) -> Iterator[Hold]:
        """Keep ``lease`` alive for as long as the block runs in this thread."""
        hold = Hold(lease)
        with self._lock:
            self._holds[lease.session_pk] = hold
        try:
            yield hold
        finally:
            with self._lock:
                if self._holds.get(lease.session_pk) is hold:
                    del self._holds[lease.session_pk]

    def driven(self) -> frozenset[int]:
        """Return the sessions this worker drives now."""
        with self._lock:
            return frozenset(self._holds)

    def start(self) -> None:
        """Begin to beat in a thread of its own."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def end(self) -> None:
        """Stop beating."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            try:
                close_old_connections()
                self.beat(_BEAT_SECONDS)
            except DatabaseError:
                logger.warning("heartbeat: the database did not answer", exc_info=True)

    def beat(self, elapsed_seconds: float) -> None:
        """Hear stop requests; every third of a lease's life renew the leases of living threads."""
        with self._lock:
            holds = {pk: hold for pk, hold in self._holds.items() if hold.thread.is_alive()}
        if not holds:
            return
        asked = Run.objects.filter(session_id__in=holds, status=RunStatus.RUNNING).exclude(stop_requested="")
        for session_pk in asked.values_list("session_id", flat=True):
            holds[session_pk].stop.set()
        self._since_renewal += elapsed_seconds
        if self._since_renewal >= min(leases.lease_seconds() / 3, settings.KHEISH.heartbeat_seconds):
            self._since_renewal = 0.0
            if leases.renew(self.owner, holds) < len(holds):
                self._mark_lost(holds)
        release_connection()

    def _mark_lost(self, holds: dict[int, Hold]) -> None:
        rows = Session.objects.filter(pk__in=holds, lease_owner=self.owner)
        epochs = dict(rows.values_list("pk", "lease_epoch"))
        for pk, hold in holds.items():
            if epochs.get(pk) != hold.lease.epoch:
                hold.lost = True
                hold.stop.set()
