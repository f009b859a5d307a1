"""The commit as one statement, for PostgreSQL: one round trip, one row lock, one commit.

``held`` locks the session row and judges the guard; ``ready`` locks the tool calls that move and sees whether
all are as they were read. Every other part runs only if ``held.ok``, all calls are ready and, where there is
one, the run's move succeeded. A part that found nothing leaves its id null in the answer, and ``_refusal``
says which rule that was. Times come from the database (``clock_timestamp``).
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.types.json import Jsonb

from kheish_site.lib.prepared import inserted, prepared_cursor
from sessions_app.models import Run
from sessions_app.services.writes import postgres_calls
from sessions_app.services.writes.change import (
    Change,
    Committed,
    IllegalEffect,
    LeaseBusy,
    LeaseLost,
    Move,
    SessionChanged,
    SessionEnded,
    SessionMissing,
    StaleRun,
    StepEnd,
    StepStart,
)

_HELD = """
held AS MATERIALIZED (
  SELECT id, next_seq, last_hash, last_order, next_position, lease_epoch AS found_epoch, {guard} AS ok,
         ended_at IS NULL AS is_open
  FROM sessions_app_session WHERE id = %(session)s FOR NO KEY UPDATE)"""
_FENCED = "(lease_owner = %(owner)s AND lease_epoch = %(epoch)s AND lease_expires_at > clock_timestamp())"
_FREE = "(lease_owner = '' OR lease_expires_at <= clock_timestamp())"
_SEEN = (
    "(%(seen)s::bigint IS NULL OR lease_epoch = %(seen)s)"
    " AND (%(seen_seq)s::bigint IS NULL OR next_seq = %(seen_seq)s)"
)
_OPEN = "(ended_at IS NULL AND (%(revision)s::bigint IS NULL OR revision = %(revision)s))"

_CHAINED = """
chained AS MATERIALIZED (
  SELECT held.*, kheish_chain(held.last_hash, held.next_seq, {digests}) AS hashes, {order} AS commit_order
  FROM {source} WHERE held.ok)"""

_LINES: Final = {
    name: f"string_to_array(%({name})s, E'\\n', '')"
    for name in ("kinds", "versions", "runs", "payloads", "digests", "ats")
}
"""A value of each entry, a line each, empty for none: canonical JSON has no line breaks, nor have the others.

The driver makes a text of an array ten times as slowly as of a text.
"""

_SESSION = """
session AS (
  UPDATE sessions_app_session AS s SET
    next_seq = s.next_seq + %(count)s,
    last_hash = COALESCE(chained.hashes[%(count)s], s.last_hash),
    last_order = chained.commit_order,
    next_position = s.next_position + %(accepted)s,
    queued_runs = s.queued_runs + %(queued)s,
    blocked = COALESCE(%(blocked)s::boolean, s.blocked),
    lease_owner = CASE WHEN {released} THEN '' ELSE {owner} END,
    lease_epoch = s.lease_epoch + %(taken)s,
    lease_expires_at = CASE WHEN {released} THEN NULL ELSE {expires} END,
    updated_at = clock_timestamp()
  FROM chained WHERE s.id = chained.id
  RETURNING s.id, chained.next_seq AS first_seq, s.lease_epoch, s.queued_runs, s.blocked, s.lease_owner)"""

_JOURNAL = """
journal AS (
  INSERT INTO sessions_app_journalentry
    (session_id, seq, run_id, kind, version, payload, digest, prev_hash, hash, at, commit_order)
  SELECT chained.id, chained.next_seq + e.n - 1, {run}, e.kind, e.version, e.payload::jsonb, e.digest,
         CASE WHEN e.n = 1 THEN chained.last_hash ELSE chained.hashes[e.n - 1] END, chained.hashes[e.n],
         e.at, chained.commit_order
  FROM chained, {accepted} unnest({kinds}, {versions}::int[], {runs}::bigint[], {payloads}, {digests},
       {ats}::timestamptz[])
       WITH ORDINALITY AS e(kind, version, run, payload, digest, at, n))"""

_ANSWER = """
SELECT held.ok, held.found_epoch, held.next_seq, held.next_position, held.is_open,
       session.first_seq, session.lease_epoch, session.queued_runs, session.blocked, session.lease_owner,
       {run}, {ready}, {calls}
FROM held LEFT JOIN session ON session.id = held.id"""


def commit(change: Change) -> Committed:
    """See ``writes.commit``."""
    statement, values = _statement(change)
    with prepared_cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    if row is None:
        raise SessionMissing
    found = _Answer(*row)
    if not found.ok or found.first_seq is None:
        raise _refusal(change, found)
    if change.accept is not None:
        change.accept.pk, change.accept.position = found.run_pk, found.position
    for call, pk in zip(change.calls, found.call_pks or (), strict=True):
        inserted(call, pk)
    return Committed(
        first_seq=found.first_seq,
        last_seq=found.first_seq + len(change.entries) - 1,
        epoch=found.epoch,
        queued_runs=found.queued_runs,
        blocked=found.blocked,
        released=bool(change.release) and not found.owner,
    )


class _Answer(NamedTuple):
    """What the statement says: of the session as it was found, and of what became of it."""

    ok: bool
    found_epoch: int
    next_seq: int
    position: int
    is_open: bool
    first_seq: int | None
    epoch: int
    queued_runs: int
    blocked: bool
    owner: str
    run_pk: int | None
    ready: bool | None
    call_pks: list[int] | None


def _refusal(change: Change, found: _Answer) -> Exception:
    if found.ok and not found.ready:
        return IllegalEffect("a tool call was moved meanwhile")
    if found.ok and change.move is not None:
        return StaleRun(was=str(change.move.was), to=str(change.move.to))
    if change.seen_epoch not in (None, found.found_epoch) or change.seen_seq not in (None, found.next_seq):
        return StaleRun()
    if change.lease is not None:
        return LeaseLost()
    if change.take:
        return LeaseBusy()
    return (
        SessionChanged("the session's settings were changed meanwhile") if found.is_open else SessionEnded()
    )


def _statement(change: Change) -> tuple[str, dict[str, Any]]:
    values = _values(change)
    parts = [_HELD.format(guard=_guard(change))]
    source = "held"
    if change.advances:
        parts.append(postgres_calls.READY)
        source += " JOIN ready ON ready.all_are"
    if change.move is not None:
        parts.append(_moved(change.move, values, source))
        source += " JOIN moved ON true"
    order = "kheish_commit_order(held.last_order)" if change.entries else "held.last_order"
    parts.append(_CHAINED.format(source=source, digests=_LINES["digests"], order=order))
    if change.accept is not None:
        parts.append(_accepted(change.accept, values))
    parts.append(_session(change))
    if change.entries:
        accepted = change.accept is not None
        parts.append(
            _JOURNAL.format(
                run="accepted.id" if accepted else "e.run",
                accepted="accepted," if accepted else "",
                **_LINES,
            )
        )
    if change.step_start is not None:
        parts.append(_step_started(change.step_start, values))
    if change.step_end is not None:
        parts.append(_step_ended(change.step_end, values))
    if change.calls:
        parts.append(postgres_calls.inserted(change.calls, values))
    if change.advances:
        parts.append(postgres_calls.advanced(change.advances, values))
    answer = _ANSWER.format(
        run="(SELECT id FROM accepted)" if change.accept is not None else "NULL::bigint",
        ready="(SELECT all_are FROM ready)" if change.advances else "true",
        calls=postgres_calls.KEYS if change.calls else "NULL::bigint[]",
    )
    return "WITH" + ",".join(parts) + answer, values


def _guard(change: Change) -> str:
    if change.lease is not None:
        return _FENCED
    if change.take:
        return f"({_FREE} AND {_SEEN})"
    return _OPEN if change.accept is not None else "true"


def _values(change: Change) -> dict[str, Any]:
    lease, move, entries = change.lease, change.move, change.entries
    return {
        "session": change.session_pk,
        "owner": lease.owner if lease else change.take,
        "epoch": lease.epoch if lease else 0,
        "seen": change.seen_epoch,
        "seen_seq": change.seen_seq,
        "revision": change.seen_revision,
        "seconds": change.lease_seconds,
        "taken": 1 if change.take else 0,
        "accepted": 1 if change.accept is not None else 0,
        "queued": (move.queued if move else 0) + (1 if change.accept is not None else 0),
        "blocked": move.blocked if move else None,
        "count": len(entries),
        "kinds": "\n".join([entry.kind for entry in entries]),
        "versions": "\n".join([str(entry.version) for entry in entries]),
        "runs": "\n".join([str(entry.run_pk or "") for entry in entries]),
        "payloads": "\n".join([entry.payload for entry in entries]),
        "digests": "\n".join([entry.digest for entry in entries]),
        "ats": "\n".join([entry.at.isoformat() for entry in entries]),
    }


def _session(change: Change) -> str:
    idle = (
        "(s.queued_runs + %(queued)s = 0 OR COALESCE(%(blocked)s::boolean, s.blocked))"
        if change.release == "idle"
        else "true"
    )
    driven = change.take or change.lease is not None
    return _SESSION.format(
        released=idle if change.release else "false",
        owner="%(owner)s" if change.take else "s.lease_owner",
        expires="clock_timestamp() + make_interval(secs => %(seconds)s)" if driven else "s.lease_expires_at",
    )


def _moved(move: Move, values: dict[str, Any], source: str) -> str:
    values |= {"run": move.run_pk, "was": str(move.was), "to": str(move.to)}
    sets = _assignments(move.fields, values, "run")
    return f"""
moved AS (
  UPDATE sessions_app_run AS r SET status = %(to)s, updated_at = clock_timestamp(){sets}
  FROM {source} WHERE held.ok AND r.id = %(run)s AND r.session_id = held.id AND r.status = %(was)s
  RETURNING r.id AS moved_id)"""


def _accepted(run: Run, values: dict[str, Any]) -> str:
    """The new run: what differs from a column's default is a parameter, the rest is part of the text.

    The driver keeps what it made of a statement only when this has at most 50 parameters.
    """
    database, marks = connections[DEFAULT_DB_ALIAS], []
    for column in _run_columns():
        value = getattr(run, column.attname)
        if column.attname == "position":
            marks.append("chained.next_position")
        elif type(value) is type(column.default) and value == column.default:
            marks.append(column.literal)
        else:
            values[column.parameter] = column.dump(value, database)
            marks.append(f"%({column.parameter})s")
    names = ", ".join(column.name for column in _run_columns())
    return f"""
accepted AS (
  INSERT INTO sessions_app_run ({names})
  SELECT {", ".join(marks)} FROM chained RETURNING id)"""


class _Column(NamedTuple):
    name: str
    attname: str
    parameter: str
    default: Any
    literal: str
    dump: Callable[[Any, Any], Any]


@cache
def _run_columns() -> tuple[_Column, ...]:
    columns = []
    for field in Run._meta.concrete_fields:
        if field.primary_key:
            continue
        name, default = str(field.column), field.get_default()
        literal = str(_LITERALS.get(repr(default), ""))
        known = default if literal else _NO_DEFAULT
        columns.append(_Column(name, field.attname, f"new_{name}", known, literal, field.get_db_prep_save))
    return tuple(columns)


_LITERALS: Final = {
    "None": "NULL",
    "''": "''",
    "0": "0",
    "False": "false",
    "{}": "'{}'::jsonb",
    "[]": "'[]'::jsonb",
}
_NO_DEFAULT: Final = object()


def _step_started(start: StepStart, values: dict[str, Any]) -> str:
    values |= {
        "step_run": start.run_pk,
        "step_number": start.number,
        "step_attempt": start.attempt,
        "step_route": start.route_id,
        "step_model": start.model,
        "step_at": start.at,
    }
    return """
step_started AS (
  INSERT INTO sessions_app_step (run_id, number, attempt, status, route_id, model, input_tokens,
    output_tokens, usage_estimated, latency_ms, provider_request_id, finish_reason, error, started_at)
  SELECT %(step_run)s, %(step_number)s, %(step_attempt)s, 'started', %(step_route)s, %(step_model)s,
    0, 0, false, 0, '', '', '{}'::jsonb, %(step_at)s FROM chained
  ON CONFLICT (run_id, number) DO UPDATE SET attempt = EXCLUDED.attempt, status = 'started',
    route_id = EXCLUDED.route_id, model = EXCLUDED.model, started_at = EXCLUDED.started_at)"""


def _step_ended(end: StepEnd, values: dict[str, Any]) -> str:
    values |= {"end_run": end.run_pk, "end_number": end.number}
    sets = _assignments(end.fields, values, "end").removeprefix(", ")
    return f"""
step_ended AS (
  UPDATE sessions_app_step AS t SET {sets}
  FROM chained WHERE t.run_id = %(end_run)s AND t.number = %(end_number)s)"""


def _assignments(fields: Any, values: dict[str, Any], prefix: str) -> str:
    """Return ``, column = %(name)s`` pairs; field names are the code's own, never a caller's text."""
    text = ""
    for name, value in fields.items():
        values[f"{prefix}_{name}"] = Jsonb(value) if isinstance(value, dict | list) else value
        text += f", {name} = %({prefix}_{name})s"
    return text
