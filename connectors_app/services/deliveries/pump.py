"""The pump of one worker process: it finds targets that are due and sends to each from one thread at a time.

A feeder looks for due targets, renews the leases of what is in flight, and hands targets to a few threads.
A thread stays with its target while something is due there, but makes room when others wait. A target that
answers slowly keeps one thread and nothing else.
"""

import logging
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings
from django.db import close_old_connections, connection

from connectors_app.services.contracts import RetryLater
from connectors_app.services.deliveries import bell, claims, send, targets
from connectors_app.services.deliveries.claims import Work
from connectors_app.services.deliveries.send import Outcome
from connectors_app.services.deliveries.states import IllegalDelivery
from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import AWAY, RowHeld, release_connection
from sessions_app.services import secrets
from sessions_app.services.external_actions import ChainBroken, LedgerUnavailable

logger = logging.getLogger(__name__)
LOOK_SECONDS: Final = 0.25
_TURN_SECONDS: Final = 1.0
"""How long a thread stays with one target while all threads are busy."""
_LONGEST_SEND_SECONDS: Final = 900.0
"""After this long a send is given up: its lease is no longer renewed."""
_SECRETS_AGE_SECONDS: Final = 5.0
_AWAY: Final = (*AWAY, LedgerUnavailable)
"""Faults that pass: a known outcome waits for their end rather than being forgotten."""


@dataclass
class _Flight:
    """One target in the hands of a thread; ``work`` is set while something is being sent."""

    begun: float = field(default_factory=time.monotonic)
    work: Work | None = None
    renewed: float = 0.0


class Pump:
    """Sends the deliveries that are due (``ports.Background``)."""

    def __init__(self) -> None:
        self.owner = ""
        self._most = settings.KHEISH.deliveries.threads
        self._wake, self._draining, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._offers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._flights: dict[int, _Flight] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0

    def start(self, worker: str) -> None:
        """Begin to look for due targets; ``worker`` owns the leases."""
        self.owner = worker
        bell.listen(self._wake)
        self._feeder = threading.Thread(target=self._feed, name="deliveries", daemon=True)
        self._feeder.start()

    def drain(self) -> None:
        """Begin nothing new; sends under way are settled."""
        self._draining.set()

    def stop(self) -> None:
        """End; sends under way get the grace of a drain and are then left to the worker that takes over."""
        self._draining.set()
        bell.forget(self._wake)
        until = time.monotonic() + settings.KHEISH.drain_seconds
        while self._flights and time.monotonic() < until:
            time.sleep(0.02)
        self._ended.set()
        self._wake.set()
        for _ in self._threads:
            self._offers.put(None)

    def threads(self) -> list[threading.Thread]:
        """Return every thread it has started."""
        return [self._feeder, *self._threads]

    def _feed(self) -> None:
        """Look for due targets a few times a second, at once after a commit of this process."""
        while not self._ended.is_set():
            self._wake.clear()
            try:
                close_old_connections()
                self._renew()
                self._offer()
                release_connection()
            except Exception:  # the thread's edge: a database that is away comes back
                logger.warning("a search failed", exc_info=True, extra={"action": "delivery.feed"})
                self._ended.wait(1.0)
            self._wake.wait(LOOK_SECONDS)
        connection.close()

    def _offer(self) -> None:
        """Hand out due targets that no thread here has, no more than there are threads for."""
        with self._lock:
            mine = set(self._flights)
        room = self._most - len(mine)
        if self._draining.is_set() or room <= 0:
            return
        for target_pk in targets.due(room, besides=mine):
            with self._lock:
                self._flights[target_pk] = _Flight()
                if self._idle < self._offers.qsize() + 1 and len(self._threads) < self._most:
                    self._hire()
            self._offers.put(target_pk)

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, name=f"delivery-{len(self._threads) + 1}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _renew(self) -> None:
        """Renew the leases of sends under way, each when a third of its life is over.

        One whose row stays locked is tried again at the next look: the other leases must not run out.
        """
        now = time.monotonic()
        with self._lock:
            flights = [flight for flight in self._flights.values() if flight.work is not None]
        for flight in flights:
            work = flight.work
            if work is None or now - flight.begun > _LONGEST_SEND_SECONDS:
                continue
            if now - flight.renewed > targets.life_seconds() / 3:
                with suppress(RowHeld):
                    targets.renew(work.target_pk, work.owner, work.epoch)
                    flight.renewed = now

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            target_pk = self._offers.get()
            with self._lock:
                self._idle -= 1
            if target_pk is None:
                break
            try:
                close_old_connections()
                self._serve(target_pk)
            except targets.TargetLost:
                logger.warning("a target was lost", extra={"action": "delivery.lost", "target": target_pk})
            except Exception as error:  # the thread's edge: the lease runs out, and the target is found again
                extra = {"action": "delivery.serve", "target": target_pk}
                level = logging.WARNING if isinstance(error, _AWAY) else logging.ERROR
                logger.log(level, "a delivery failed", exc_info=True, extra=extra)
                self._ended.wait(1.0)
            finally:
                with self._lock:
                    self._flights.pop(target_pk, None)
                _tidy()
            self._wake.set()
        connection.close()

    def _serve(self, target_pk: int) -> None:
        """Send the due deliveries of one target, one after the other."""
        if self._draining.is_set():
            return
        flight = self._flights[target_pk]
        secrets.refresh_redaction(max_age_seconds=_SECRETS_AGE_SECONDS)
        work, began = self._take(target_pk), time.monotonic()
        while work is not None:
            flight.begun, flight.renewed = time.monotonic(), work.leased_at
            flight.work = work
            outcome = self._send(work)
            stay = not self._draining.is_set() and not self._must_make_room(began)
            work = flight.work = self._settle(work, outcome, go_on=stay)
            crashpoint("delivery.settled")

    def _take(self, target_pk: int) -> Work | None:
        try:
            return claims.take(target_pk, self.owner)
        except ChainBroken as broken:
            claims.pass_over(target_pk, self.owner, broken)
            return None

    def _send(self, work: Work) -> Outcome:
        crashpoint("delivery.sending")
        if work.is_late:
            return RetryLater("internal", "this worker was held up before the request could leave")
        outcome = send.attempt(work.delivery, lambda progress: claims.keep(work, progress))
        crashpoint("delivery.sent")
        return outcome

    def _settle(self, work: Work, outcome: Outcome, *, go_on: bool) -> Work | None:
        """Commit the outcome, trying until the database is back. Raises: TargetLost, ChainBroken."""
        was_away = False
        while True:
            try:
                return claims.settle(work, outcome, go_on=go_on)
            except ChainBroken:
                if not go_on:
                    raise
                go_on = False  # the broken chain may be the next delivery's; this outcome must be kept
            except IllegalDelivery:
                if not was_away:
                    raise
                return claims.resume(work)
            except _AWAY:
                was_away = True
                logger.warning("an outcome waits", exc_info=True, extra={"action": "delivery.settle"})
                _tidy()
                if self._ended.wait(1.0):
                    raise
                close_old_connections()

    def _must_make_room(self, began: float) -> bool:
        """Tell whether a thread has had its turn while all are busy: another due target may be waiting."""
        with self._lock:
            return len(self._flights) >= self._most and time.monotonic() - began > _TURN_SECONDS


def _tidy() -> None:
    """Give this thread's connection back, whatever state an error has left it in."""
    try:
        release_connection()
    except (RuntimeError, KheishError):
        connection.close()
