"""The one door through which a session changes: lock, fence, sequence and rows in one commit.

``commit`` does in one statement on PostgreSQL (``postgres.py``) what ``portable.py`` spells out in
several for SQLite; one contract suite holds both to the same behaviour.
"""

from kheish_site.lib.transactions import on_postgresql
from sessions_app.models import RunStatus
from sessions_app.services import wake
from sessions_app.services.writes import portable
from sessions_app.services.writes.change import (
    Advance,
    Change,
    Committed,
    Entry,
    IllegalEffect,
    Lease,
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

__all__ = [
    "Advance",
    "Change",
    "Committed",
    "Entry",
    "IllegalEffect",
    "Lease",
    "LeaseBusy",
    "LeaseLost",
    "Move",
    "SessionChanged",
    "SessionEnded",
    "SessionMissing",
    "StaleRun",
    "StepEnd",
    "StepStart",
    "commit",
]


def commit(change: Change) -> Committed:
    """Make ``change`` or nothing, and ring once it has committed.

    Inside a transaction call it before other writes: it takes the session's row lock.
    Raises: LeaseLost, LeaseBusy, StaleRun, IllegalEffect, SessionChanged, SessionEnded, SessionMissing.
    """
    if on_postgresql():
        from sessions_app.services.writes import postgres  # its driver is a third of a second

        done = postgres.commit(change)
    else:
        done = portable.commit(change)
    if change.entries:
        wake.ring_readers(change.session_pk, done.last_seq)
    if _has_news_for_workers(change) and done.queued_runs and not done.blocked:
        wake.ring_workers(change.session_pk)
    return done


def _has_news_for_workers(change: Change) -> bool:
    queued = change.move is not None and (change.move.to == RunStatus.QUEUED or change.move.blocked is False)
    return change.accept is not None or queued or change.release == "always"
