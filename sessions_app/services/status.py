"""How the installation is: who works, what waits, and what somebody should look at."""

import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Count, Min

from kheish_site import __version__
from kheish_site.lib import clock
from sessions_app.models import LIVE, Run, RunStatus, Worker
from sessions_app.services import external_actions, ports, routes, runtime_settings
from sessions_app.services.waiting_kinds import KINDS

API_REVISION: Final = 3
_STARTED: Final = time.monotonic()
_QUEUE_LAG: Final = timedelta(minutes=1)
_STALE: Final = timedelta(minutes=30)
LEAST_FREE_BYTES: Final = 256 * 1024 * 1024
"""Less than this on the disk of the state folder (embedded: with the database) is worth a warning."""
_FEATURES: Final = {
    "approvals": True,
    "questions": True,
    "operator_decisions": True,
    "session_events": True,
    "live_events": True,
    "restart_restore": True,
    "session_run_idempotency": True,
    "problem_details": True,
    "openapi": True,
    "cursor_pagination": True,
    "paginated_lists": True,
    "domain_errors": True,
    "sse_replay": True,
    "typed_sse_heartbeat": False,
    "websocket": True,
    "sidechains": False,
    "mailboxes": False,
    "playbooks": False,
    "flows": False,
    "agent_supervisor_audit": False,
    "spawn_policies": False,
}


def capabilities() -> dict[str, Any]:
    """Return what this version can do; clients ask before they rely on it."""
    return {
        "control_plane_version": __version__,
        "api_revision": API_REVISION,
        "route_capability_matrix_version": 2,
        **_FEATURES,
    }


def is_draining() -> bool:
    """Tell whether the service was asked to stop (the supervisor leaves a marker)."""
    return (settings.KHEISH.state_dir / "draining").exists()


def status() -> dict[str, Any]:
    """Return the state of the installation; a fixed number of queries, none over finished runs."""
    draining = is_draining()
    live = runtime_settings.current()
    workers = list(Worker.objects.heard())
    runs = dict(
        Run.objects.filter(status__in=sorted(LIVE))
        .order_by()
        .values_list("status")
        .annotate(number=Count("pk"))
    )
    default = routes.default()
    problems = routes.readiness(default) if default is not None else ["there is no route"]
    parts = ports.status_parts()
    warnings = [*_worker_warnings(workers), *_run_warnings(), *_route_warnings(problems), *_ledger_warnings()]
    warnings += _disk_warnings()
    warnings += [dict(warning) for part in parts.values() for warning in part.warnings]
    return {
        "status": "draining" if draining else "ready",
        "ready": not draining,
        "version": __version__,
        "profile": "embedded" if settings.KHEISH.embedded else "services",
        "state_dir": str(settings.KHEISH.state_dir),
        "uptime_seconds": int(time.monotonic() - _STARTED),
        "runs": {name: runs.get(name, 0) for name in RunStatus.values if name in LIVE},
        "waiting": _waiting(),
        "workers": [_worker(row) for row in workers],
        "runtime": {
            "default_route": default.route_id if default is not None else None,
            "model": default.model if default is not None else None,
            "permission_mode": live.permission_mode,
            "revision": live.revision,
        },
        "provider_readiness": {"status": "error" if problems else "ok", "problems": problems},
        "health": {"ok": not warnings, "warnings": warnings},
        "time": clock.rfc3339(clock.now()),
        **{name: dict(part.view) for name, part in parts.items()},
    }


def _waiting() -> dict[str, int]:
    return {f"{kind.noun}s": kind.pending().count() for kind in KINDS}


def _worker(row: Worker) -> dict[str, Any]:
    return {
        "name": row.name,
        "host": row.host,
        "pid": row.pid,
        "slots": row.slots,
        "draining": row.draining,
        "alive": is_alive(row),
        "started_at": clock.rfc3339(row.started_at),
        "heartbeat_at": clock.rfc3339(row.heartbeat_at),
    }


def is_alive(row: Worker) -> bool:
    """Tell whether the worker's heartbeat is younger than a lease. Needs a row that ``heard`` read."""
    return row.silent_for < timedelta(seconds=settings.KHEISH.lease_seconds)


def _worker_warnings(workers: list[Worker]) -> Iterator[dict[str, str]]:
    if not any(is_alive(row) and not row.draining for row in workers):
        yield _warning(
            "error", "no_worker", "no worker is alive: runs are accepted and wait", "start a worker process"
        )


def _run_warnings() -> Iterator[dict[str, str]]:
    now = clock.now()
    # The oldest queued run that nothing active holds up: its session is due and nobody takes it.
    due = Run.objects.filter(
        status=RunStatus.QUEUED,
        session__blocked=False,
        session__lease_owner="",
        submitted_at__lt=now - _QUEUE_LAG,
    ).aggregate(oldest=Min("submitted_at"), number=Count("pk"))
    if due["oldest"] is not None:
        waited = int((now - due["oldest"]).total_seconds())
        yield _warning(
            "warning",
            "queued_run_lag",
            f"{due['number']} runs are due, the oldest for {waited} s",
            "add workers",
        )
    stale = Run.objects.filter(status=RunStatus.RUNNING, updated_at__lt=now - _STALE).count()
    if stale:
        yield _warning(
            "warning",
            "stale_non_terminal_runs",
            f"{stale} runs made no progress for 30 minutes",
            "look at them",
        )


def _route_warnings(problems: list[str]) -> Iterator[dict[str, str]]:
    if problems:
        yield _warning("error", "provider_active_route_not_ready", problems[0], "see: routes list")


def _ledger_warnings() -> Iterator[dict[str, str]]:
    if number := external_actions.foreign_chains():
        yield _warning(
            "error",
            "audit_key_missing",
            f"{number} audit chains were signed with another key: no external action can happen",
            "restore audit-signing.key from the backup of the state folder",
        )


def _disk_warnings() -> Iterator[dict[str, str]]:
    folder = settings.KHEISH.state_dir
    try:
        free = shutil.disk_usage(folder).free
    except OSError as gone:
        yield _warning(
            "error", "state_dir_unreadable", f"{folder}: {gone.strerror}", "restore it from a backup"
        )
        return
    if free < LEAST_FREE_BYTES:
        yield _warning(
            "error",
            "disk_nearly_full",
            f"{free // 2**20} MiB are left on the disk of {folder}",
            "make room: without it nothing can be accepted",
        )


def _warning(severity: str, code: str, message: str, action: str) -> dict[str, str]:
    return {"severity": severity, "code": code, "message": message, "action": action}
