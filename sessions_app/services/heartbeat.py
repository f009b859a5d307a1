"""One heartbeat a worker process: it renews all its leases and hears requests to stop.

A lease is renewed while the thread that drives the session lives; when that thread is gone the lease
runs out and another worker takes the session over. No transaction is open between beats.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings
from django.db import close_old_connections

from kheish_site.lib.transactions import release_connection
from sessions_app.models import Run, RunStatus
from sessions_app.services import leases, secrets
from sessions_app.services.writes import Lease

logger = logging.getLogger(__name__)
_BEAT_SECONDS: Final = 0.5
_SECRETS_AGE_SECONDS: Final = 0.4


class Hold:
    """One driven session, as the driving thread and the heartbeat share it.

    ``stop`` is set when the run of the moment should stop at once: somebody asked, or the lease was lost.
    ``draining`` is set when the worker should begin no more steps and no more calls.
    """

    def __init__(self, lease: Lease, draining: threading.Event) -> None:
        self.lease, self.draining = lease, draining
        self.stop = threading.Event()
        self.lost = False
        self.thread = threading.current_thread()
        self._run_pk = 0
        self._guard = threading.Lock()

    def begin(self, run_pk: int) -> None:
        """Drive this run from here on; a request to stop the one before is not for it."""
        with self._guard:
            self._run_pk = run_pk
            if not self.lost:
                self.stop = threading.Event()

    def ask(self, run_pk: int) -> None:
        """Stop ``run_pk`` if it is still the one that is driven."""
        with self._guard:
            if run_pk == self._run_pk:
                self.stop.set()

    def lose(self) -> None:
        """Say that the lease is gone: nothing this thread writes can be committed any more."""
        with self._guard:
            self.lost = True
            self.stop.set()


class Heartbeat:
    """The leases of one worker. ``draining`` is set when the worker should take no more steps."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.draining = threading.Event()
        self._holds: dict[int, Hold] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._renewed = time.monotonic()

    @contextmanager
    def hold(self, lease: Lease) -> Iterator[Hold]:
        """Keep ``lease`` alive for as long as the block runs in this thread."""
        hold = Hold(lease, self.draining)
        with self._lock:
            before = self._holds.get(lease.session_pk)
            self._holds[lease.session_pk] = hold
        if before is not None:
            before.lose()  # a slow thread of this worker, whose lease ran out and was taken again
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
                self.beat()
            except Exception:  # the thread's edge: without it every lease of this worker would run out
                logger.warning("a heartbeat failed", exc_info=True, extra={"action": "worker.beat"})

    def beat(self) -> None:
        """Hear of stop requests and new secrets; renew the leases of living threads when due."""
        with self._lock:
            holds = {pk: hold for pk, hold in self._holds.items() if hold.thread.is_alive()}
        if not holds:
            return
        secrets.refresh_redaction(max_age_seconds=_SECRETS_AGE_SECONDS)
        asked = Run.objects.filter(session_id__in=holds, status=RunStatus.RUNNING).exclude(stop_requested="")
        for session_pk, run_pk in asked.values_list("session_id", "pk"):
            holds[session_pk].ask(run_pk)
        now = time.monotonic()
        if now - self._renewed >= min(leases.lease_seconds() / 3, settings.KHEISH.heartbeat_seconds):
            if leases.renew(self.owner, holds) < len(holds):
                self._mark_lost(holds)
            self._renewed = now  # only now: a renewal that failed is tried again with the next beat
        release_connection()

    def _mark_lost(self, holds: dict[int, Hold]) -> None:
        epochs = leases.held_epochs(self.owner, holds)
        for pk, hold in holds.items():
            if epochs.get(pk) != hold.lease.epoch:
                hold.lose()
