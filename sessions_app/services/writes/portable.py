"""The commit spelled out: every step by the ORM, for SQLite, whose transactions have one writer."""

from datetime import datetime, timedelta
from typing import Any

from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.transactions import locked, write
from sessions_app.models import JournalEntry, Run, Session, Step, StepStatus
from sessions_app.services.writes.change import (
    Change,
    Committed,
    LeaseBusy,
    LeaseLost,
    SessionEnded,
    SessionMissing,
    StaleRun,
)


def commit(change: Change) -> Committed:
    """See ``writes.commit``."""
    with write():
        moment = clock.now()
        session = locked(Session.objects.filter(pk=change.session_pk)).first()
        if session is None:
            raise SessionMissing
        _check_guard(session, change, moment)
        run_pk = _accept(session, change)
        _move_run(session, change, moment)
        _write_step(change)
        first = _append(session, change, run_pk)
        released = _update_session(session, change, moment)
    return Committed(
        first_seq=first,
        last_seq=session.next_seq - 1,
        epoch=session.lease_epoch,
        queued_runs=session.queued_runs,
        blocked=session.blocked,
        released=released,
        run_pk=run_pk,
    )


def _check_guard(session: Session, change: Change, moment: datetime) -> None:
    alive = session.lease_expires_at is not None and session.lease_expires_at > moment
    if change.lease is not None:
        held = (session.lease_owner, session.lease_epoch) == (change.lease.owner, change.lease.epoch)
        if not (held and alive):
            raise LeaseLost
    if change.seen_epoch is not None and change.seen_epoch != session.lease_epoch:
        raise StaleRun
    if change.take and session.lease_owner and alive:
        raise LeaseBusy
    if change.accept is not None and session.ended_at is not None:
        raise SessionEnded


def _accept(session: Session, change: Change) -> int | None:
    if change.accept is None:
        return None
    change.accept.position = session.next_position
    change.accept.save(force_insert=True)
    session.next_position += 1
    session.queued_runs += 1
    return change.accept.pk


def _move_run(session: Session, change: Change, moment: datetime) -> None:
    if change.move is None:
        return
    move = change.move
    fields: dict[str, Any] = {"status": move.to, "updated_at": moment, **move.fields}
    if Run.objects.filter(pk=move.run_pk, session=session, status=move.was).update(**fields) != 1:
        raise StaleRun(was=str(move.was), to=str(move.to))
    session.queued_runs += move.queued
    session.blocked = session.blocked if move.blocked is None else move.blocked


def _write_step(change: Change) -> None:
    if change.step_start is not None:
        start = change.step_start
        Step.objects.update_or_create(
            run_id=start.run_pk,
            number=start.number,
            defaults={
                "attempt": start.attempt,
                "status": StepStatus.STARTED,
                "route_id": start.route_id,
                "model": start.model,
                "started_at": start.at,
            },
        )
    if change.step_end is not None:
        end = change.step_end
        Step.objects.filter(run_id=end.run_pk, number=end.number).update(**end.fields)


def _append(session: Session, change: Change, run_pk: int | None) -> int:
    first = session.next_seq
    rows = []
    for entry in change.entries:
        chained = sha256_hex(f"{session.last_hash}:{session.next_seq}:{entry.digest}")
        rows.append(
            JournalEntry(
                session=session,
                seq=session.next_seq,
                run_id=entry.run_pk if entry.run_pk is not None or not run_pk else run_pk,
                kind=entry.kind,
                version=entry.version,
                payload=entry.decoded(),
                digest=entry.digest,
                prev_hash=session.last_hash,
                hash=chained,
                at=entry.at,
            )
        )
        session.next_seq += 1
        session.last_hash = chained
    JournalEntry.objects.bulk_create(rows)
    return first


def _update_session(session: Session, change: Change, moment: datetime) -> bool:
    if change.take:
        session.lease_owner = change.take
        session.lease_epoch += 1
    if change.take or change.lease is not None:
        session.lease_expires_at = moment + timedelta(seconds=change.lease_seconds)
    busy = session.queued_runs > 0 and not session.blocked
    released = change.release == "always" or (change.release == "idle" and not busy)
    if released:
        session.lease_owner, session.lease_expires_at = "", None
    Session.objects.filter(pk=session.pk).update(
        next_seq=session.next_seq,
        last_hash=session.last_hash,
        next_position=session.next_position,
        queued_runs=session.queued_runs,
        blocked=session.blocked,
        lease_owner=session.lease_owner,
        lease_epoch=session.lease_epoch,
        lease_expires_at=session.lease_expires_at,
        updated_at=moment,
    )
    return released
