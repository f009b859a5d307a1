"""Leases: who may drive a session, proved by an epoch that every write checks.

A lease is three columns of the session row: owner, epoch, expiry (docs/decisions/0004-expired-is-lost.md).
Taking it adds one to the epoch, so a former holder's next write finds another epoch and fails whole.
"""

import time
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from kheish_site.lib import clock
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import RowHeld, locked_in_order, on_postgresql, write, write_soon
from sessions_app.models import Run, RunStatus, Session
from sessions_app.services import journal, run_state, writes
from sessions_app.services.writes import Change, Committed, Entry, Lease, StepStart

# A row somebody has locked is skipped: waiting for one of them would let all the others run out.
_RENEW = """
UPDATE sessions_app_session SET lease_expires_at = clock_timestamp() + make_interval(secs => %s)
WHERE id IN (SELECT id FROM sessions_app_session
             WHERE id = ANY(%s) AND lease_owner = %s AND lease_expires_at > clock_timestamp()
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id
"""
_TURN_SECONDS: Final = 0.5
"""How long a renewal waits for one row that somebody has locked."""


def lease_seconds() -> float:
    """Return how long a lease lives without a heartbeat."""
    return float(settings.KHEISH.lease_seconds)


def claim(
    run: Run, owner: str, *, entries: tuple[Entry, ...] = (), step_start: StepStart | None = None
) -> Lease:
    """Take the lease of the session whose head is ``run``, and start or take over that run, in one commit.

    A queued run becomes running (``run.started``, or ``run.recovered`` for one that was running when
    its worker died, which keeps its status and its steps). ``entries`` follow in the same commit.
    ``run`` and its session were read together: had anybody taken the lease since, the epoch would differ. The
    holder of a running one may still commit what it began in time and keep the epoch; then the session's next
    sequence number differs, and what ``step_start`` was made from is no longer true.
    Raises: LeaseBusy (another worker drives it), StaleRun (the head changed since it was read).
    """
    session_id = run.session.session_id
    payload = {"worker": owner, "step": run.step}
    recovered = run.status == RunStatus.RUNNING
    if recovered:
        head = journal.entry(session_id, "run.recovered", payload, run=run)
        count = run.recovered_count + 1
        moving = run_state.staying(run, {"recovered_count": count})
    else:
        head = run_state.moved_entry(run, session_id, RunStatus.RUNNING, payload)
        moving = run_state.move(run, RunStatus.RUNNING, started_fields(run))
    committed = writes.commit(
        Change(
            session_pk=run.session_id,
            entries=(head, *entries),
            take=owner,
            seen_epoch=run.session.lease_epoch,
            seen_seq=run.session.next_seq if recovered else None,
            lease_seconds=lease_seconds(),
            move=moving,
            step_start=step_start,
        )
    )
    mark_started(run)
    return Lease(session_pk=run.session_id, owner=owner, epoch=committed.epoch)


def start_held(
    run: Run, lease: Lease, *, entries: tuple[Entry, ...] = (), step_start: StepStart | None = None
) -> None:
    """Start a queued run under a lease already held, as ``claim`` does. Raises: LeaseLost, StaleRun."""
    payload = {"worker": lease.owner, "step": run.step}
    head = run_state.moved_entry(run, run.session.session_id, RunStatus.RUNNING, payload)
    writes.commit(
        Change(
            session_pk=run.session_id,
            entries=(head, *entries),
            lease=lease,
            lease_seconds=lease_seconds(),
            move=run_state.move(run, RunStatus.RUNNING, started_fields(run)),
            step_start=step_start,
        )
    )
    mark_started(run)


def check(lease: Lease) -> None:
    """Take the session's row lock and prove the lease still holds. Raises: LeaseLost.

    First in a transaction whose later writes are not fenced themselves.
    """
    writes.commit(Change(session_pk=lease.session_pk, lease=lease, lease_seconds=lease_seconds()))


def started_fields(run: Run) -> dict[str, Any]:
    """Return the columns a start sets; a resumed run keeps its first start."""
    return {} if run.started_at else {"started_at": clock.now(), "step": max(run.step, 1)}


def mark_started(run: Run) -> None:
    """Bring the instance in step with what the commit of its start wrote."""
    run.status = RunStatus.RUNNING
    run.step = max(run.step, 1)
    run.started_at = run.started_at or clock.now()


def renew(owner: str, session_pks: Collection[int]) -> int:
    """Renew the unexpired leases of ``owner`` on these sessions; return how many.

    In one statement, but for those whose row somebody has locked: of a session that many write to at once
    somebody always has. For these it waits afterwards, a moment each and a part of a lease's life for all.
    """
    if not session_pks:
        return 0
    if on_postgresql():
        done = _renewed(owner, session_pks)
        until = time.monotonic() + lease_seconds() / 6
        for session_pk in sorted(set(session_pks) - done):
            if time.monotonic() < until:
                with suppress(RowHeld), write_soon(_TURN_SECONDS):
                    locked_in_order(Session.objects.filter(pk=session_pk))
                    done |= _renewed(owner, [session_pk])
        return len(done)
    with write():
        now = clock.now()  # not before: SQLite's one writer may have been waited for
        held = Session.objects.filter(pk__in=session_pks, lease_owner=owner, lease_expires_at__gt=now)
        return held.update(lease_expires_at=now + timedelta(seconds=lease_seconds()))


def _renewed(owner: str, session_pks: Collection[int]) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(_RENEW, [lease_seconds(), list(session_pks), owner])
        return {pk for (pk,) in cursor.fetchall()}


def held_epochs(owner: str, session_pks: Collection[int]) -> dict[int, int]:
    """Return the epochs of the unexpired leases of ``owner`` on these sessions."""
    held = Session.objects.filter(pk__in=session_pks, lease_owner=owner, lease_expires_at__gt=Now())
    return dict(held.values_list("pk", "lease_epoch"))


def clear_expired(session_pk: int) -> bool:
    """Take away an expired lease that covers nothing; tell whether there was one.

    Its holder died between two runs and the rest of the queue was cancelled since.
    """
    if not _COVERING_NOTHING.all(session_pk):
        return False
    with write():
        return _covering_nothing(session_pk).update(lease_owner="", lease_expires_at=None) == 1


def _covering_nothing(session_pk: int) -> QuerySet[Session]:
    running = Run.objects.filter(session=OuterRef("pk"), status=RunStatus.RUNNING)
    covers_nothing = (Q(queued_runs=0) | Q(blocked=True)) & ~Q(lease_owner="") & ~Exists(running)
    return Session.objects.filter(covers_nothing, pk=session_pk, lease_expires_at__lte=Now()).order_by()


_COVERING_NOTHING: Final = Prepared[tuple[int]](lambda pk: _covering_nothing(pk).values_list("pk"), int)
"""Asked by every drive that finds nothing to run."""


def release(lease: Lease) -> Committed:
    """Give the lease back whatever waits. Raises: LeaseLost."""
    return writes.commit(
        Change(session_pk=lease.session_pk, lease=lease, lease_seconds=lease_seconds(), release="always")
    )


def expire_owned_by(owners: Collection[str]) -> int:
    """Let the leases of workers known to be dead be taken at once; return how many there were.

    The epoch stays: whoever takes the lease next adds to it, and that is the fence. Several workers may call
    this for the same dead at once.
    """
    if not owners:
        return 0
    with write():
        alive = Session.objects.filter(lease_owner__in=list(owners), lease_expires_at__gt=Now())
        return Session.objects.filter(pk__in=locked_in_order(alive)).update(lease_expires_at=Now())
