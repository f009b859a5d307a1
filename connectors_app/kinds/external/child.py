"""One child process and the thread that starts it, awaits its readiness, watches, restarts and stops it."""

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import F

from connectors_app.kinds.external import environment, instances, leases, protocol
from connectors_app.kinds.external.leases import Issued
from connectors_app.kinds.external.names import GRACE_SECONDS
from connectors_app.kinds.external.protocol import MANIFESTS, Manifest, Sidecar, SidecarUnwell
from connectors_app.models import Connector, SidecarStatus
from kheish_site.lib.errors import KheishError
from kheish_site.lib.process_group import NOT_STARTED, ProcessGroup
from kheish_site.lib.transactions import release_connection

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
START_SECONDS: Final = 20.0
LONGEST_BACKOFF_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 60.0
"""After being ready this long, a process's earlier deaths no longer count."""
FAILED_AFTER: Final = 5
"""Deaths in a row after which a sidecar counts as failed; it is still tried again."""


class Died(Exception):
    """The process has ended or must end. The message is safe to show."""


class ChildSidecar(threading.Thread):
    """Keeps one connector's process running until it is asked to stop; ``ended`` is called at the end."""

    def __init__(self, connector: Connector, *, worker: str, ended: Callable[[], object]) -> None:
        super().__init__(name=f"sidecar-{connector.name}"[:60], daemon=True)
        self._connector = connector
        self._worker = worker
        self._ended = ended
        self._asked = threading.Event()
        self._deaths = 0

    def ask_to_stop(self) -> None:
        """Stop the process and end the thread; ``join`` waits for both."""
        self._asked.set()

    def run(self) -> None:
        """Run the process again and again until asked to stop."""
        try:
            while not self._asked.is_set():
                reason = self._live_safely()
                if not self._asked.is_set():
                    self._asked.wait(self._backoff(reason))
            self._note(status=SidecarStatus.STOPPED, pid=0, instance_id="")
        finally:
            connection.close()
            self._ended()

    def _live_safely(self) -> str:
        try:
            return self._live()
        except Exception as error:  # the thread's edge: an error here must not end the supervision
            logger.exception("the sidecar could not be kept", extra=self._extra("sidecar.keep"))
            return f"internal error ({type(error).__name__})"

    def _live(self) -> str:
        """Run the process once, from its lease to its end; return why it ended."""
        close_old_connections()
        try:
            sidecar = protocol.sidecar_of(self._connector)
            lease = leases.issue(self._connector)
        except (KheishError, DatabaseError) as error:
            return _words(error)
        try:
            return self._run_process(sidecar, lease)
        finally:
            MANIFESTS.forget(self._connector)
            self._revoke(lease)

    def _run_process(self, sidecar: Sidecar, lease: Issued) -> str:
        try:
            group = self._spawn(sidecar, lease)
        except OSError as error:
            return f"the process could not be started: {error.strerror}"
        process = group.process
        try:
            self._note(status=SidecarStatus.STARTING, pid=group.pid, instance_id="", worker=self._worker)
            manifest = self._until_ready(process, sidecar)
            self._note(
                status=SidecarStatus.RUNNING,
                instance_id=manifest.instance_id,
                manifest=manifest.as_dict(),
                last_error="",
            )
            self._watch(process, lease)
        except Died as death:
            return str(death)
        finally:
            end(group)
        return ""

    def _spawn(self, sidecar: Sidecar, lease: Issued) -> ProcessGroup:
        child = self._connector.settings["child_process"]
        group = ProcessGroup(
            [child["command"], *child["args"]],
            cwd=child["working_dir"] or None,
            env=environment.of_child(self._connector, sidecar, lease),
        )
        logger.info("sidecar started", extra=self._extra("sidecar.start", pid=group.pid))
        return group

    def _until_ready(self, process: "subprocess.Popen[bytes]", sidecar: Sidecar) -> Manifest:
        """Poll until manifest and health come from the same ready instance. Raises: Died."""
        deadline, why = time.monotonic() + START_SECONDS, "it did not answer"
        while time.monotonic() < deadline:
            self._check(process)
            try:
                manifest = protocol.fetch_manifest(sidecar)
                instance_id, status = protocol.fetch_health(sidecar)
                if instance_id == manifest.instance_id and status in protocol.READY:
                    self._check(process)  # another program on the same port may have answered
                    MANIFESTS.put(self._connector, manifest)
                    return manifest
                why = f"it is {status}" if instance_id == manifest.instance_id else "two instances answer"
            except SidecarUnwell as error:
                why = str(error)
            self._asked.wait(POLL_SECONDS)
        raise Died(f"not ready within {START_SECONDS:g} s: {why}")

    def _watch(self, process: "subprocess.Popen[bytes]", lease: Issued) -> None:
        """Renew the lease until the process ends or must end. Raises: Died."""
        ready_at = renewed_at = time.monotonic()
        while True:
            self._check(process)
            now = time.monotonic()
            if now - ready_at > STEADY_SECONDS:
                self._deaths = 0
            if now - renewed_at > leases.RENEW_SECONDS:
                renewed_at = now
                self._renew(lease)
            self._asked.wait(POLL_SECONDS)

    def _check(self, process: "subprocess.Popen[bytes]") -> None:
        """Raise Died when the process has ended or was asked to stop."""
        if self._asked.is_set():
            raise Died("it was stopped")
        code = process.poll()
        if code in NOT_STARTED:
            raise Died("the command could not be started")
        if code is not None:
            raise Died(f"it ended with {_how(code)}")

    def _renew(self, lease: Issued) -> None:
        try:
            alive = leases.renew(lease.lease_id)
        except DatabaseError:
            logger.warning("the lease was not renewed", exc_info=True, extra=self._extra("sidecar.renew"))
            return  # the next try comes long before the lease runs out
        finally:
            release_connection()
        if not alive:
            raise Died("its credential lease was revoked")

    def _revoke(self, lease: Issued) -> None:
        try:
            leases.revoke(self._connector, lease_id=lease.lease_id)
        except DatabaseError:
            logger.warning("the lease was not revoked", exc_info=True, extra=self._extra("sidecar.revoke"))

    def _backoff(self, reason: str) -> float:
        """Note a death; return how long to wait before the next start."""
        self._deaths += 1
        wait = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (self._deaths - 1))
        failed = self._deaths >= FAILED_AFTER
        status = SidecarStatus.FAILED if failed else SidecarStatus.BACKOFF
        self._note(status=status, pid=0, instance_id="", last_error=reason)
        self._note(restarts=F("restarts") + 1)
        logger.warning(
            "sidecar ended: %s; again in %.0f s", reason, wait, extra=self._extra("sidecar.backoff")
        )
        return wait

    def _note(self, **state: Any) -> None:
        """Write the row; a database that is away must not end a working sidecar."""
        try:
            instances.note(self._connector, **state)
        except DatabaseError:
            logger.warning("sidecar state not written", exc_info=True, extra=self._extra("sidecar.note"))
        finally:
            release_connection()

    def _extra(self, action: str, **more: Any) -> dict[str, Any]:
        return {"action": action, "connector": str(self._connector), **more}


def end(group: ProcessGroup) -> None:
    """End a process: SIGTERM, some grace, then SIGKILL for its whole group, with all it left behind."""
    if group.process.poll() is None:
        group.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            group.process.wait(timeout=GRACE_SECONDS)
    group.signal(signal.SIGKILL)
    group.reap()


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _words(error: Exception) -> str:
    return error.detail if isinstance(error, KheishError) else type(error).__name__
