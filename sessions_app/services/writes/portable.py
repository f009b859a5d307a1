"""The commit spelled out, statement by statement, for SQLite, whose transactions have one writer.

Plain SQL with fixed texts: building the same statements through the ORM costs several times what SQLite
needs to run them, and this is the path of every step and every event.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from django.db import connection, models

from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.prepared import insert, update
from kheish_site.lib.transactions import write_if
from sessions_app.models import JournalEntry, Run, Session, Step
from sessions_app.services.writes.change import (
    Change,
    Committed,
    IllegalEffect,
    LeaseBusy,
    LeaseLost,
    SessionChanged,
    SessionEnded,
    SessionMissing,
    StaleRun,
)

_READ: Final = (
    "next_seq", "last_hash", "next_position", "queued_runs", "blocked", "lease_owner", "lease_epoch",
    "lease_expires_at", "ended_at", "revision",
)  # fmt: skip
_WRITTEN: Final = (*_READ[:-2], "updated_at")
_UPDATE_SESSION: Final = (
    f"UPDATE sessions_app_session SET {', '.join(f'{name} = %s' for name in _WRITTEN)} WHERE id = %s"
)
_JOURNAL: Final = (
    "session_id", "seq", "run_id", "kind", "version", "payload", "digest", "prev_hash", "hash", "at",
    "commit_order",
)  # fmt: skip
_APPEND: Final = (
    f"INSERT INTO sessions_app_journalentry ({', '.join(_JOURNAL)}) "
    f"VALUES ({', '.join(['%s'] * len(_JOURNAL))})"
)
_STEP_STARTED: Final = """
INSERT INTO sessions_app_step (run_id, number, attempt, status, route_id, model, input_tokens, output_tokens,
  usage_estimated, latency_ms, provider_request_id, finish_reason, error, started_at)
VALUES (%s, %s, %s, 'started', %s, %s, 0, 0, 0, 0, '', '', '{}', %s)
ON CONFLICT (run_id, number) DO UPDATE SET attempt = excluded.attempt, status = 'started',
  route_id = excluded.route_id, model = excluded.model, started_at = excluded.started_at"""


def commit(change: Change) -> Committed:
    """See ``writes.commit``. What refuses a change comes before its first statement that writes."""
    with write_if(not connection.in_atomic_block), connection.cursor() as cursor:
        moment = clock.now()
        row = _session(cursor, change.session_pk)
        _check_guard(row, change, moment)
        _check_calls(cursor, change)
        run_pk = _accept(row, change)
        _move_run(cursor, row, change, moment)
        _write_step(cursor, change)
        _write_calls(change)
        first = _append(cursor, row, change, run_pk)
        released = _update_session(cursor, row, change, moment)
    return Committed(
        first_seq=first,
        last_seq=row["next_seq"] - 1,
        epoch=row["lease_epoch"],
        queued_runs=row["queued_runs"],
        blocked=row["blocked"],
        released=released,
    )


def _session(cursor: Any, session_pk: int) -> dict[str, Any]:
    cursor.execute(f"SELECT {', '.join(_READ)} FROM sessions_app_session WHERE id = %s", [session_pk])
    found = cursor.fetchone()
    if found is None:
        raise SessionMissing
    row = dict(zip(_READ, found, strict=True))
    row["blocked"] = bool(row["blocked"])
    row["lease_expires_at"] = _moment(row["lease_expires_at"])
    return row


def _moment(value: Any) -> datetime | None:
    """Return a stored time as an aware one; SQLite keeps it as text in UTC."""
    stored = datetime.fromisoformat(value) if isinstance(value, str) else value
    return stored.replace(tzinfo=UTC) if stored is not None and stored.tzinfo is None else stored


def _check_guard(row: dict[str, Any], change: Change, moment: datetime) -> None:
    alive = row["lease_expires_at"] is not None and row["lease_expires_at"] > moment
    if change.lease is not None:
        held = (row["lease_owner"], row["lease_epoch"]) == (change.lease.owner, change.lease.epoch)
        if not (held and alive):
            raise LeaseLost
    if change.seen_epoch not in (None, row["lease_epoch"]) or change.seen_seq not in (None, row["next_seq"]):
        raise StaleRun
    if change.take and alive:
        raise LeaseBusy
    if change.accept is not None and row["ended_at"] is not None:
        raise SessionEnded
    if change.seen_revision is not None and change.seen_revision != row["revision"]:
        raise SessionChanged("the session's settings were changed meanwhile")


def _check_calls(cursor: Any, change: Change) -> None:
    for advance in change.advances:
        cursor.execute("SELECT state FROM sessions_app_toolcall WHERE id = %s", [advance.call.pk])
        if cursor.fetchone() != (advance.was,):
            raise IllegalEffect("a tool call was moved meanwhile")


def _accept(row: dict[str, Any], change: Change) -> int | None:
    run = change.accept
    if run is None:
        return None
    run.position = row["next_position"]
    insert(run)
    row["next_position"] += 1
    row["queued_runs"] += 1
    return int(run.pk)


def _move_run(cursor: Any, row: dict[str, Any], change: Change, moment: datetime) -> None:
    if change.move is None:
        return
    move = change.move
    sets, values = _assignments(Run, {"status": str(move.to), "updated_at": moment, **move.fields})
    cursor.execute(
        f"UPDATE sessions_app_run SET {sets} WHERE id = %s AND session_id = %s AND status = %s",
        [*values, move.run_pk, change.session_pk, str(move.was)],
    )
    if cursor.rowcount != 1:
        raise StaleRun(was=str(move.was), to=str(move.to))
    row["queued_runs"] += move.queued
    row["blocked"] = row["blocked"] if move.blocked is None else move.blocked


def _write_step(cursor: Any, change: Change) -> None:
    if change.step_start is not None:
        start = change.step_start
        at = _prepared(Step, "started_at", start.at)
        values = [start.run_pk, start.number, start.attempt, start.route_id, start.model, at]
        cursor.execute(_STEP_STARTED, values)
    if change.step_end is not None:
        end = change.step_end
        sets, values = _assignments(Step, end.fields)
        cursor.execute(
            f"UPDATE sessions_app_step SET {sets} WHERE run_id = %s AND number = %s",
            [*values, end.run_pk, end.number],
        )


def _write_calls(change: Change) -> None:
    for call in change.calls:
        insert(call)
    for advance in change.advances:
        update(advance.call, advance.changes, where={"state": advance.was})


def _append(cursor: Any, row: dict[str, Any], change: Change, run_pk: int | None) -> int:
    first = int(row["next_seq"])
    rows = []
    for entry in change.entries:
        chained = sha256_hex(f"{row['last_hash']}:{row['next_seq']}:{entry.digest}")
        run = entry.run_pk if entry.run_pk is not None or not run_pk else run_pk
        rows.append(
            (
                change.session_pk,
                row["next_seq"],
                run,
                entry.kind,
                entry.version,
                entry.payload,
                entry.digest,
                row["last_hash"],
                chained,
                _prepared(JournalEntry, "at", entry.at),
                0,
            )
        )
        row["next_seq"] += 1
        row["last_hash"] = chained
    if rows:
        cursor.executemany(_APPEND, rows)
    return first


def _update_session(cursor: Any, row: dict[str, Any], change: Change, moment: datetime) -> bool:
    if change.take:
        row["lease_owner"] = change.take
        row["lease_epoch"] += 1
    if change.take or change.lease is not None:
        row["lease_expires_at"] = moment + timedelta(seconds=change.lease_seconds)
    busy = row["queued_runs"] > 0 and not row["blocked"]
    released = change.release == "always" or (change.release == "idle" and not busy)
    if released:
        row["lease_owner"], row["lease_expires_at"] = "", None
    # The rest is numbers and texts, which need no preparing.
    row["lease_expires_at"] = _prepared(Session, "lease_expires_at", row["lease_expires_at"])
    row["updated_at"] = _prepared(Session, "updated_at", moment)
    cursor.execute(_UPDATE_SESSION, [*(row[name] for name in _WRITTEN), change.session_pk])
    return released


def _prepared(model: type[models.Model], name: str, value: Any) -> Any:
    """Return ``value`` as the column ``name`` keeps it."""
    return _field(model, name).get_db_prep_save(value, connection)


@cache
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def _assignments(model: type[models.Model], fields: Any) -> tuple[str, list[Any]]:
    """Return ``column = %s`` pairs and their values; the names are the code's own, never a caller's text."""
    known = {name: _field(model, name) for name in fields}
    sets = ", ".join(f"{field.column} = %s" for field in known.values())
    return sets, [field.get_db_prep_save(fields[name], connection) for name, field in known.items()]
