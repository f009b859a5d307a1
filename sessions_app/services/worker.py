"""One worker process: its row, its heartbeat, and the thread that finds it work.

The same thread is feeder and sweep: it asks ``recovery.due_sessions`` whenever a commit was seen
(embedded) or some seconds have passed, and hands what it finds to the worker's own Celery queue.
"""

import logging
import os
import threading
import time
from typing import Final

from celery import Celery
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections

from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from kheish_site.lib.sqlite_watch import ChangeWatcher
from kheish_site.lib.transactions import release_connection, write
from sessions_app.models import Worker
from sessions_app.services import heartbeat, processes, recovery, retention, secrets, shell_tasks

logger = logging.getLogger(__name__)
_OFFER_SECONDS: Final = 2.0
_HOURLY: Final = 3600.0


class WorkerProcess:
    """What this process is to the others while it lives."""

    def __init__(self, app: Celery) -> None:
        self.host = processes.host()
        self.name = f"{self.host.split('/')[0][:60]}:{os.getpid()}:{new_id('w')}"
        self.heartbeat = heartbeat.Heartbeat(self.name)
        self._app = app
        self._ended = threading.Event()
        self._offered: dict[int, float] = {}
        self._cleaned = 0.0
        self._thread = threading.Thread(target=self._watch, name="feeder", daemon=True)

    def start(self) -> None:
        """Announce the worker, let go of what dead ones left, and begin to look for work."""
        secrets.refresh_redaction()
        self._announce()
        recovery.bury_dead_workers(self.host)
        self.heartbeat.start()
        self._thread.start()
        logger.info("worker started", extra={"action": "worker.start", "worker": self.name})

    def drain(self) -> None:
        """Take no new work and no new steps; what is in flight may finish its step."""
        self.heartbeat.draining.set()
        Worker.objects.filter(name=self.name).update(draining=True)

    def stop(self) -> None:
        """Leave: end what still runs and take the row away."""
        self._ended.set()
        shell_tasks.stop_all("the worker stopped")
        self.heartbeat.end()
        with write():
            Worker.objects.filter(name=self.name).delete()

    def _watch(self) -> None:
        watcher = ChangeWatcher(settings.DATABASES["default"]["NAME"]) if settings.KHEISH.embedded else None
        swept = 0.0
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
            except DatabaseError:
                logger.warning("feeder: the database did not answer", exc_info=True)
                self._ended.wait(1.0)
            (watcher or self._ended).wait(settings.KHEISH.sweep_seconds)

    def _feed(self) -> None:
        """Offer each due session to the pool once; offer again only if it is still due later."""
        if self.heartbeat.draining.is_set():
            return
        now = time.monotonic()
        self._offered = {pk: at for pk, at in self._offered.items() if now - at < _OFFER_SECONDS}
        driven = self.heartbeat.driven()
        for session_pk in recovery.due_sessions():
            if session_pk not in self._offered and session_pk not in driven:
                self._offered[session_pk] = now
                self._app.send_task("kheish.execute", args=[session_pk])

    def _sweep(self) -> None:
        self._beat()
        shell_tasks.stop_requested([self.name])
        shell_tasks.stop_settled()
        secrets.refresh_redaction()
        if recovery.take_tick(self.name):
            recovery.bury_dead_workers(self.host)
            recovery.expire_due()
            if time.monotonic() - self._cleaned > _HOURLY:
                self._cleaned = time.monotonic()
                retention.purge()

    def _beat(self) -> None:
        """Refresh the worker's row; one that was buried by mistake (a long freeze) comes back as it was."""
        if not Worker.objects.filter(name=self.name).update(heartbeat_at=clock.now()):
            self._announce()

    def _announce(self) -> None:
        now = clock.now()
        with write():
            Worker.objects.create(
                name=self.name,
                host=self.host,
                pid=os.getpid(),
                pid_started=processes.started(os.getpid()),
                slots=settings.KHEISH.worker_threads,
                draining=self.heartbeat.draining.is_set(),
                started_at=now,
                heartbeat_at=now,
            )


_PROCESS: WorkerProcess | None = None


def start(app: Celery) -> None:
    """Make this process a worker (Celery's ``worker_ready``)."""
    global _PROCESS
    _PROCESS = WorkerProcess(app)
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
