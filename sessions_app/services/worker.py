"""One worker process: its row, its heartbeat, and the thread that finds it work.

The same thread is feeder and sweep: it asks ``recovery.due_sessions`` whenever a commit was seen
(embedded) or some seconds have passed, and hands what it finds to this worker's own pool. With Redis another
thread takes up what is rung for, so that nothing waits for the sweep; without an answer nothing is lost.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models.functions import Now

from kheish_site.lib.ids import new_id
from kheish_site.lib.sqlite_log import LogKeeper
from kheish_site.lib.sqlite_watch import ChangeWatcher
from kheish_site.lib.transactions import release_connection, write
from sessions_app.models import Worker
from sessions_app.services import (
    external_actions,
    heartbeat,
    leases,
    ports,
    processes,
    recovery,
    retention,
    secrets,
    shell_tasks,
)

logger = logging.getLogger(__name__)
_FULL_SECONDS: Final = 0.02
"""How often a worker that is full looks whether it has room."""
_HOURLY: Final = 3600.0
_BETWEEN_BATCHES_SECONDS: Final = 2.0
"""What outlived its time goes in batches, with pauses: it must not be noticed beside the work."""
REST_SECONDS: Final = 5.0
"""How long the feeder leaves a session alone that was taken up in vain: it stays due, and would be first."""
Offer = Callable[[int], object]
"""Lets a thread of the pool drive a session, given its primary key, as soon as one is free."""


class WorkerProcess:
    """What this process is to the others while it lives."""

    def __init__(self, offer: Offer) -> None:
        self.host = processes.host()
        self.name = f"{self.host.split('/')[0][:60]}:{os.getpid()}:{new_id('w')}"
        self.heartbeat = heartbeat.Heartbeat(self.name)
        self._offer = offer
        self._ended = threading.Event()
        self._taken: set[int] = set()
        self._again: set[int] = set()
        self._resting: dict[int, float] = {}
        self._taking = threading.Lock()
        self._beaten = self._listening = time.monotonic()
        self._cleaned = -math.inf  # never; a monotonic clock begins when the machine does
        self._cleaner = threading.Thread()
        self._is_told = False
        self._background = ports.make_background()
        self._log = LogKeeper(settings.DATABASES["default"]["NAME"]) if settings.KHEISH.embedded else None
        self._thread = threading.Thread(target=self._watch, name="feeder", daemon=True)

    def start(self) -> None:
        """Announce the worker, let go of what dead ones left, and begin to look for work.

        Raises: KeyMissing, before anything is done: each call that reaches out would fail its run.
        """
        external_actions.require_key()
        secrets.refresh_redaction()
        self._announce()
        self._bury()
        self.heartbeat.start()
        self._thread.start()
        if self._log is not None:
            self._log.start()
        if settings.KHEISH.redis_url:
            threading.Thread(target=self._heed, name="doorbell", daemon=True).start()
        for part in self._background:
            part.start(self.name)
        logger.info("worker started", extra={"action": "worker.start", "worker": self.name})

    def drain(self) -> None:
        """Take no new work and no new steps; what is in flight may finish its step.

        Called in Celery's signal handler, which interrupts the main thread anywhere, also inside a query:
        touching the database here would wait for ourselves for ever. The next beat tells the others. So would
        a second signal inside of this: an event's lock does not know that it is ours already.
        """
        if self._is_told:
            return
        self._is_told = True
        self.heartbeat.draining.set()
        for part in self._background:
            part.drain()

    def stop(self) -> None:
        """Leave: end what still runs and take the row away."""
        self._ended.set()
        if self._log is not None:
            self._log.stop()
        for part in self._background:
            part.stop()
        shell_tasks.stop_all("the worker stopped")
        self.heartbeat.end()
        with write():
            Worker.objects.filter(name=self.name).delete()

    def _watch(self) -> None:
        watcher = ChangeWatcher(settings.DATABASES["default"]["NAME"]) if settings.KHEISH.embedded else None
        swept = -math.inf
        if watcher is not None:
            watcher.changed()  # what is committed from here on ends a wait
        while not self._ended.is_set():
            try:
                close_old_connections()
                self._feed()
                if time.monotonic() - swept >= settings.KHEISH.sweep_seconds:
                    swept = time.monotonic()
                    self._sweep()
                release_connection()
            except Exception:  # the thread's edge: a database that is away comes back
                logger.warning("the search for work failed", exc_info=True, extra={"action": "worker.watch"})
                self._ended.wait(1.0)
            (watcher or self._ended).wait(settings.KHEISH.sweep_seconds)

    def _feed(self) -> None:
        """Take up due sessions, no more than the pool has threads: the rest is for other workers."""
        room = self._room()
        if room <= 0 or self.heartbeat.draining.is_set():
            return
        resting = self._still_resting()
        for session_pk in recovery.due_sessions(recovery.BATCH + len(resting)):
            if session_pk in resting:
                continue
            room -= self._take_up(session_pk)
            if room <= 0:
                return

    def _still_resting(self) -> frozenset[int]:
        """Return the sessions that were taken up in vain a moment ago, and forget who has rested."""
        now = time.monotonic()
        with self._taking:
            self._resting = {pk: until for pk, until in self._resting.items() if until > now}
            return frozenset(self._resting)

    def _heed(self) -> None:
        """Take up the sessions that are rung for, while there is room for them."""
        # Imported here: without Redis its client is a third of a second of every start.
        from sessions_app.services.doorbell.redis_calls import Deaf, RedisCalls

        calls, deaf = RedisCalls(settings.KHEISH.redis_url), False
        while not (self._ended.is_set() or self.heartbeat.draining.is_set()):
            room = self._room()
            if room <= 0:
                self._ended.wait(_FULL_SECONDS)
                continue
            try:
                for session_pk in calls.take(room):
                    self._take_up(session_pk)
                deaf = False
            except Deaf as error:
                if not deaf:
                    extra = {"action": "doorbell.deaf"}
                    logger.warning("Redis is gone; the sweep finds work: %s", error, extra=extra)
                deaf = True
                self._ended.wait(1.0)
            except Exception:  # the thread's edge: what was rung for is due, and the sweep finds it
                logger.warning("a ring was not heeded", exc_info=True, extra={"action": "worker.heed"})
                self._ended.wait(1.0)
        calls.close()

    def _room(self) -> int:
        with self._taking:
            return settings.KHEISH.worker_threads - len(self._taken)

    def _take_up(self, session_pk: int) -> bool:
        """Offer a session to the pool, and say so; one that it has is looked at again when it is done.

        Whoever leaves takes up nothing: what it was rung for is due, and another worker's sweep finds it.
        """
        with self._taking:
            if self.heartbeat.draining.is_set():
                return False
            if session_pk in self._taken:
                self._again.add(session_pk)
                return False
            self._taken.add(session_pk)
        try:
            self._offer(session_pk)
        except BaseException:  # the pool cannot: without a thread nobody would ever let go of it
            with self._taking:
                self._taken.discard(session_pk)
                self._again.discard(session_pk)
            raise
        return True

    def done(self, session_pk: int, *, in_vain: bool = False) -> None:
        """Say that a thread of the pool has let go of a session; ``in_vain`` if it could do nothing."""
        with self._taking:
            self._taken.discard(session_pk)
            if in_vain:
                self._resting[session_pk] = time.monotonic() + REST_SECONDS
            again = session_pk in self._again and not in_vain
            self._again.discard(session_pk)
        if again:
            self._take_up(session_pk)

    def _sweep(self) -> None:
        self._beat()
        shell_tasks.stop_requested([self.name])
        shell_tasks.stop_settled()
        secrets.refresh_redaction()
        self._bury()  # not the tick's: the dead one may have held it
        if recovery.take_tick(self.name):
            recovery.expire_due()
            if time.monotonic() - self._cleaned > _HOURLY and not self._cleaner.is_alive():
                self._cleaned = time.monotonic()
                self._cleaner = threading.Thread(target=self._clean, name="retention", daemon=True)
                self._cleaner.start()

    def _clean(self) -> None:
        """Delete what outlived its time, a batch of everything after the other, until none is full.

        In a thread of its own: the feeder beats for this worker, and others would take it for dead.
        """
        try:
            while retention.leaves_more(retention.purge()) and not self._ended.wait(_BETWEEN_BATCHES_SECONDS):
                release_connection()
                if self.heartbeat.draining.is_set() or not recovery.take_tick(self.name):
                    return
        except Exception:  # the thread's edge: an hour later it is tried again
            logger.warning("retention failed", exc_info=True, extra={"action": "retention.purge"})
        finally:
            connection.close()

    def _bury(self) -> None:
        recovery.bury_dead_workers(self.host, listening_seconds=time.monotonic() - self._listening)

    def _beat(self) -> None:
        """Refresh the worker's row; one that was buried by mistake (a long freeze) comes back as it was.

        Whoever could not beat for a lease has not heard the others either, and begins to listen anew.
        """
        with write():
            beaten = Worker.objects.filter(name=self.name).update(
                heartbeat_at=Now(), draining=self.heartbeat.draining.is_set()
            )
        if not beaten:
            self._announce()
        now = time.monotonic()
        if now - self._beaten > leases.lease_seconds():
            self._listening = now
        self._beaten = now

    def _announce(self) -> None:
        with write():
            Worker.objects.create(
                name=self.name,
                host=self.host,
                pid=os.getpid(),
                pid_started=processes.started(os.getpid()),
                slots=settings.KHEISH.worker_threads,
                draining=self.heartbeat.draining.is_set(),
                started_at=Now(),
                heartbeat_at=Now(),  # by the database's clock, which all workers share
            )


_PROCESS: WorkerProcess | None = None


def start(offer: Offer) -> None:
    """Make this process a worker (Celery's ``worker_ready``)."""
    global _PROCESS
    _PROCESS = WorkerProcess(offer)
    _PROCESS.start()


def current() -> WorkerProcess:
    """Return this process's worker. Raises: RuntimeError outside a worker."""
    if _PROCESS is None:
        raise RuntimeError("this process is no worker: start one with manage.py serve")
    return _PROCESS


def begin_drain() -> None:
    """Stop taking work (Celery's ``worker_shutting_down``)."""
    if _PROCESS is not None:
        _PROCESS.drain()


def stop() -> None:
    """Leave (Celery's ``worker_process_shutdown`` or ``worker_shutdown``)."""
    if _PROCESS is not None:
        _PROCESS.stop()
