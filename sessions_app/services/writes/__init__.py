"""The one door through which a session changes: lock, fence, sequence and rows in one commit.

``commit`` does in one statement on PostgreSQL (``postgres.py``) what ``portable.py`` spells out with
the ORM for SQLite; one contract suite holds both to the same behaviour.
"""

from kheish_site.lib.transactions import on_postgresql
from sessions_app.services.writes import portable, postgres
from sessions_app.services.writes.change import (
    Change,
    Committed,
    Entry,
    Lease,
    LeaseBusy,
    LeaseLost,
    Move,
    SessionEnded,
    SessionMissing,
    StaleRun,
    StepEnd,
    StepStart,
)

__all__ = [
    "Change",
    "Committed",
    "Entry",
    "Lease",
    "LeaseBusy",
    "LeaseLost",
    "Move",
    "SessionEnded",
    "SessionMissing",
    "StaleRun",
    "StepEnd",
    "StepStart",
    "commit",
]


def commit(change: Change) -> Committed:
    """Make ``change`` or nothing. Joins an open transaction; alone it is its own.

    Inside a transaction call it before other writes: it takes the session's row lock.
    Raises: LeaseLost, LeaseBusy, StaleRun, SessionEnded, SessionMissing.
    """
    return postgres.commit(change) if on_postgresql() else portable.commit(change)
