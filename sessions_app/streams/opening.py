"""Who may follow what, and from where. Synchronous: it reads rows, so it runs in a reader thread."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import DataError

from kheish_site.lib.errors import NotFound
from sessions_app.models import TERMINAL, JournalEntry, Role, Session
from sessions_app.services import access, events, runs, sessions
from sessions_app.services.events import Filters, InvalidCursor, P, Place
from sessions_app.services.principal import Principal
from sessions_app.streams.sources import AnyOpened, EverySource, Opened, RunSource, SessionSource

_C = TypeVar("_C", int, Place)


@contextmanager
def _comparable() -> Iterator[None]:
    """PostgreSQL cannot compare a text that holds NUL: there is nothing of that name, and no outage."""
    try:
        yield
    except DataError as error:
        raise NotFound("there is nothing of that name") from error


@_comparable()
def open_session(principal: Principal, session_id: str, cursors: Iterable[str]) -> Opened[int]:
    """Open a session's stream; without a cursor it shows what happens from now on.

    Raises: Forbidden, SessionMissing, InvalidCursor, NotFound.
    """
    access.require(principal, Role.VIEWER)
    after = _latest(cursors, events.parse_seq)
    session = sessions.get(session_id)
    source, head = SessionSource(session_pk=session.pk), _head(session)
    position = _within(after, head, default=head)
    return Opened(source=source, position=position, head=head, caller=principal)


@_comparable()
def open_run(principal: Principal, run_id: str, cursors: Iterable[str]) -> Opened[int]:
    """Open a run's stream, from its beginning unless a cursor says otherwise.

    Raises: Forbidden, RunMissing, InvalidCursor, NotFound.
    """
    access.require(principal, Role.VIEWER)
    after = _latest(cursors, events.parse_seq)
    run = runs.get(run_id)  # one statement: the session's head is as old as the status
    head = _head(run.session)
    position = _within(after, head, default=0)
    source = RunSource(session_pk=run.session_id, run_pk=run.pk, run_id=run.run_id)
    if run.status not in TERMINAL:
        return Opened(source=source, position=position, head=head, caller=principal)
    seen = not JournalEntry.objects.filter(run_id=run.pk, seq__gt=position).exists()
    return Opened(source=source, position=position, head=head, caller=principal, status=run.status, seen=seen)


@_comparable()
def open_everything(
    principal: Principal,
    cursors: Iterable[str],
    *,
    session_id: str = "",
    run_id: str = "",
    kinds: Iterable[str] = (),
) -> Opened[Place]:
    """Open the stream of all sessions, narrowed by what is given; without a cursor from now on.

    Raises: Forbidden, SessionMissing, RunMissing, InvalidCursor, NotFound.
    """
    access.require(principal, Role.VIEWER)
    after = _latest(cursors, events.parse_place)
    filters = Filters(
        session_pk=sessions.get(session_id).pk if session_id else None,
        run_pk=runs.get(run_id).pk if run_id else None,
        kinds=frozenset(filter(None, kinds)),
    )
    head = events.global_head()
    position = _within(after, head, default=head)
    return Opened(source=EverySource(filters=filters), position=position, head=head, caller=principal)


def open_topic(principal: Principal, topic: str, cursor: str) -> AnyOpened:
    """Open what a WebSocket topic names: ``session:ID``, ``run:ID`` or ``all``. Raises as the others do."""
    kind, _, public_id = topic.partition(":")
    if kind == "session":
        return open_session(principal, public_id, [cursor])
    if kind == "run":
        return open_run(principal, public_id, [cursor])
    return open_everything(principal, [cursor])


def _head(session: Session) -> int:
    return session.next_seq - 1


def _latest(cursors: Iterable[str], parse: Callable[[str], _C]) -> _C | None:
    """Return the furthest of the cursors that were given: a browser repeats its first address for ever."""
    return max((parse(text) for text in cursors if text), default=None)


def _within(after: P | None, head: P, *, default: P) -> P:
    """A place ahead of the journal belongs to another database, or to a backup that was restored."""
    if after is None:
        return default
    if after > head:
        raise InvalidCursor("the cursor lies ahead of the journal; begin with 0")
    return after
