"""Transactions: who owns one, who needs one, what waits for its commit.

Services own transactions and open them with ``write()``. Helpers that need one open say so with
``require_transaction()``. Nothing leaves the process before ``after_commit``. This module is the
only place that knows the two databases lock differently.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, Final, TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Model, QuerySet

from kheish_site.lib.file_turn import turn

_M = TypeVar("_M", bound=Model)
_WRITER = threading.RLock()
AWAY: Final = (OperationalError, InterfaceError)
"""What a statement raises where the database is away, restarts, or cannot do it now: later it may.

Who tries again (a tool's result, a task's end, a delivery's outcome) has a loop of its own: each gives up for
another reason, and a commit that may have happened already means something else to each.
"""


_LOCK_NOT_AVAILABLE: Final = "55P03"


class RowHeld(Exception):
    """Somebody holds a row for longer than one may wait for it here: nothing was written."""


class TransactionRequired(RuntimeError):
    """A helper was called outside a transaction: a mistake in the caller, never in the input."""


@cache
def on_postgresql() -> bool:
    """Tell whether rows can be locked one by one; otherwise one writer holds the whole file."""
    return connection.vendor == "postgresql"


@contextmanager
def write() -> Iterator[None]:
    """Open the transaction of one service verb; nested calls join the outer one.

    SQLite's busy handler is unfair (16 contenders: p99 of seconds), so the threads of one process and
    then the processes take turns before they ask the file for its write lock.
    """
    if on_postgresql():
        with transaction.atomic():
            yield
        return
    with _WRITER, _turn(), transaction.atomic():
        yield


@contextmanager
def write_soon(seconds: float) -> Iterator[None]:
    """Open a transaction of its own that waits ``seconds`` at most for a row somebody else has locked.

    For whoever keeps leases: to wait for one row, as long as others may, would let the rest run out.
    Raises: RowHeld.
    """
    try:
        with write():
            if on_postgresql():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds:.3f}s"])
            yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
            raise
        raise RowHeld from error


def write_if(more: bool) -> AbstractContextManager[None]:
    """Open a transaction where ``more`` than one statement belongs together; one alone is a commit itself."""
    return write() if more else nullcontext()


@contextmanager
def undone_with(*rows: Model) -> Iterator[None]:
    """Give ``rows`` the fields they had back when the block fails: what it moved them to was not committed.

    Around the transaction, where somebody tries again with the same rows.
    """
    before = [(row, dict(vars(row))) for row in rows]
    try:
        yield
    except BaseException:
        for row, fields in before:
            vars(row).clear()
            vars(row).update(fields)
        raise


def _turn() -> AbstractContextManager[None]:
    """Return the turn among processes; nothing inside a transaction, or where no other process can write."""
    name = str(connection.settings_dict["NAME"])
    if connection.in_atomic_block or ":memory:" in name or name.startswith("file:"):
        return nullcontext()
    return turn(name)


def require_transaction() -> None:
    """Raise TransactionRequired unless a transaction is open on this connection."""
    if not connection.in_atomic_block:
        raise TransactionRequired("this needs an open transaction: wrap the verb in write()")


def after_commit(action: Callable[[], Any]) -> None:
    """Run ``action`` once the outermost transaction has committed, or at once when none is open."""
    transaction.on_commit(action)


def locked(rows: QuerySet[_M]) -> QuerySet[_M]:
    """Return ``rows`` to be read under a row lock (no key update) until the transaction ends.

    SQLite's immediate transactions already hold the only write lock; there it changes nothing.
    """
    require_transaction()
    if not on_postgresql():
        return rows
    return rows.select_for_update(no_key=True, of=("self",))


def locked_in_order(rows: QuerySet[_M]) -> list[Any]:
    """Lock ``rows`` by primary key and return the keys: whoever locks several so never waits in a circle.

    An update alone takes any order. Needs an open transaction, as ``locked`` does.
    """
    return [row.pk for row in locked(rows.order_by("pk").only("pk"))]


def pinned(row: Model) -> bool:
    """Hold ``row`` against deletion (``unpinned``) until the transaction ends; False when it is gone.

    Several may: unlike ``locked`` it makes nobody wait.
    """
    require_transaction()
    if not on_postgresql():
        return type(row)._default_manager.filter(pk=row.pk).exists()
    with connection.cursor() as cursor:
        table = row._meta.db_table
        cursor.execute(f'SELECT 1 FROM "{table}" WHERE id = %s FOR KEY SHARE', [row.pk])  # noqa: S608
        return cursor.fetchone() is not None


def unpinned(rows: QuerySet[_M]) -> QuerySet[_M]:
    """Return those of ``rows`` that nobody has pinned, held so that nobody can; nobody is waited for."""
    require_transaction()
    return rows.select_for_update(of=("self",), skip_locked=True) if on_postgresql() else rows


def exclusive(name: str) -> None:
    """Let one transaction at a time pass here for ``name``, until it ends.

    For rules over rows that do not exist yet, which no row lock can hold: names that must be unique
    among the living, the first default, the next revision.
    """
    require_transaction()
    if on_postgresql():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"kheish.{name}"])


def leave_connection() -> None:
    """Leave this thread's connection as whoever uses the thread next should find it.

    A pooled one is given back; SQLite's stays open, unless something went wrong with it.
    """
    if connection.errors_occurred or connection.in_atomic_block:
        connection.close()
    else:
        release_connection()


def release_connection() -> None:
    """Give this thread's connection back before waiting for a model, a tool or a person.

    Only a pooled connection is worth returning; an SQLite handle holds nothing between transactions.
    Raises: RuntimeError when a transaction is still open.
    """
    if connection.in_atomic_block:
        raise RuntimeError("a transaction may not stay open across a wait")
    if on_postgresql():
        connection.close()
