"""Reading the journal forward: one session, one run, or everything, after a place, a page at a time.

The shapes here are what lists and streams both show. A page costs one statement whatever it holds.

One session's entries are dense and commit in the order of ``seq``, so "after n" never skips one. Rows
of different sessions commit in any order on PostgreSQL: there the feed of everything goes by
(commit_order, id) and stops before the oldest transaction still open, whose rows may yet appear
(``pg_snapshot_xmin``). SQLite has one writer, so its row ids are in commit order.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

from django.db import connection
from django.db.models import BooleanField, F, OuterRef, QuerySet, Subquery, Value
from django.db.models.expressions import RawSQL

from kheish_site.lib.clock import rfc3339
from kheish_site.lib.errors import BadRequest
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import on_postgresql
from sessions_app.models import JournalEntry, Run, Session

_SEQ: Final = re.compile(r"[0-9]{1,18}")
_PLACE: Final = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{1,15})")
_LAST_ROW: Final = 2**59
NEWS: Final = 100
"""Entries that a stream process reads at once: so few that every planner goes by the index."""
_AFTER: Final = '("sessions_app_journalentry"."commit_order", "sessions_app_journalentry"."id") > (%s, %s)'
_HORIZON: Final = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_SETTLED: Final = f'"sessions_app_journalentry"."commit_order" < {_HORIZON}'
_UP_TO_HELD: Final = (
    '"sessions_app_journalentry"."commit_order" <= COALESCE((SELECT MIN(later.commit_order)'  # noqa: S608
    f" FROM sessions_app_journalentry later WHERE later.commit_order >= {_HORIZON}), {2**62})"
)
"""Of what is not settled, the first commit is enough to know that something is."""


class InvalidCursor(BadRequest):
    """The cursor is not one this stream or list gave out."""

    code, domain = "invalid_event_cursor", "events"


class Place(NamedTuple):
    """Where an entry stands among those of all sessions. Its text is opaque to clients."""

    commit_order: int
    row: int

    def __str__(self) -> str:
        return f"{self.commit_order:x}-{self.row:x}"


START: Final = Place(0, 0)
P = TypeVar("P", int, Place)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One journal entry as streams send it. ``data`` is the JSON of ``as_event``, in UTF-8."""

    place: Place
    seq: int
    kind: str
    at: str
    session_pk: int
    session_id: str
    run_pk: int | None
    run_id: str | None
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[P]):
    """Entries in order. ``has_more``: ask again after the last one.

    ``held``: the page ends early because a transaction that began before them is still open.
    """

    entries: tuple[JournalEntry, ...]
    has_more: bool
    held: bool = False

    def items(self) -> list[dict[str, Any]]:
        """Return the entries as the API shows them."""
        return [as_event(entry, entry.public_session, entry.public_run) for entry in self.entries]  # type: ignore[attr-defined]

    def events(self) -> tuple[Event, ...]:
        """Return the entries as streams send them."""
        return tuple(_event(entry) for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a reader of everything wants to see; an empty filter lets all pass."""

    session_pk: int | None = None
    run_pk: int | None = None
    kinds: frozenset[str] = frozenset()

    def match(self, event: Event) -> bool:
        """Tell whether ``event`` passes."""
        return (
            (self.session_pk is None or event.session_pk == self.session_pk)
            and (self.run_pk is None or event.run_pk == self.run_pk)
            and (not self.kinds or event.kind in self.kinds)
        )


EVERYTHING: Final = Filters()


def as_event(entry: JournalEntry, session_id: str, run_id: str | None) -> dict[str, Any]:
    """Return the entry as lists and streams show it; ``run_id`` is null for what no run did."""
    return {
        "seq": entry.seq,
        "kind": entry.kind,
        "version": entry.version,
        "session_id": session_id,
        "run_id": run_id,
        "at": rfc3339(entry.at),
        "payload": entry.payload,
        "hash": entry.hash,
        "prev_hash": entry.prev_hash,
    }


def session_page(
    session_pk: int, *, after: int = 0, limit: int = 100, kinds: Collection[str] = ()
) -> Page[int]:
    """Return entries of one session with ``seq`` greater than ``after``, of all ``kinds`` or some."""
    return _page(_of_kinds(_of_session(session_pk, after), kinds), limit)


def run_page(run_pk: int, *, after: int = 0, limit: int = 100, kinds: Collection[str] = ()) -> Page[int]:
    """Return entries of one run after ``after``, a ``seq`` of its session; of all ``kinds`` or some."""
    rows = _of_kinds(_rows().filter(run_id=run_pk, seq__gt=after), kinds)
    return _page(rows.order_by("seq"), limit)


def count(*, session_pk: int | None = None, run_pk: int | None = None, kinds: Collection[str] = ()) -> int:
    """Return how many entries a session or a run has, of all ``kinds`` or some."""
    owner = {"run_id": run_pk} if run_pk is not None else {"session_id": session_pk}
    rows = JournalEntry.objects.filter(**owner)
    return _of_kinds(rows, kinds).count()


def session_news(session_pk: int, after: int) -> Page[int]:
    """Return at most ``NEWS`` entries of one session after ``after``: what streams ask for at each ring."""
    return _paged(_SESSION_NEWS.all(session_pk, after), NEWS)


def global_news(after: Place) -> Page[Place]:
    """Return at most ``NEWS`` entries of all sessions after ``after``: what streams of everything ask for."""
    return _paged(_GLOBAL_NEWS.all(*after), NEWS)


def global_page(after: Place = START, *, limit: int = 100, filters: Filters = EVERYTHING) -> Page[Place]:
    """Return entries of all sessions after ``after`` that pass ``filters``, in the order of commits."""
    rows = _in_commit_order(after)
    if filters.session_pk is not None:
        rows = rows.filter(session_id=filters.session_pk)
    if filters.run_pk is not None:
        rows = rows.filter(run_id=filters.run_pk)
    return _page(_of_kinds(rows, filters.kinds), limit)


def heads(session_pks: Iterable[int]) -> dict[int, int]:
    """Return the last ``seq`` of each session."""
    rows = Session.objects.filter(pk__in=list(session_pks)).values_list("pk", "next_seq")
    return {pk: next_seq - 1 for pk, next_seq in rows}


def global_head() -> Place:
    """Return the place after which everything that commits from now on comes.

    On PostgreSQL also what committed before while an older transaction was open, which is open still.
    """
    if on_postgresql():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {_HORIZON}")
            return Place(cursor.fetchone()[0] - 1, _LAST_ROW)
    last = JournalEntry.objects.order_by("-id").values_list("id", flat=True).first()
    return Place(0, last or 0)


def place_of(entry: JournalEntry) -> Place:
    """Return where ``entry`` stands among those of all sessions."""
    return Place(entry.commit_order, entry.pk)


def parse_seq(text: str) -> int:
    """Read the cursor of a session or run. Raises: InvalidCursor."""
    if not _SEQ.fullmatch(text):
        raise InvalidCursor("the cursor of a session or a run is a sequence number")
    return int(text)


def parse_place(text: str) -> Place:
    """Read the cursor of the feed of everything; ``0`` is its start. Raises: InvalidCursor."""
    if text == "0":
        return START
    found = _PLACE.fullmatch(text)
    if not found:
        raise InvalidCursor("not a cursor of this feed; begin with 0, or leave it out")
    return Place(int(found[1], 16), int(found[2], 16))


def _of_kinds(rows: QuerySet[JournalEntry], kinds: Collection[str]) -> QuerySet[JournalEntry]:
    return rows.filter(kind__in=sorted(kinds)) if kinds else rows


def _rows() -> QuerySet[JournalEntry]:
    run = Run.objects.filter(pk=OuterRef("run_id")).values("run_id")[:1]
    return JournalEntry.objects.annotate(public_session=F("session__session_id"), public_run=Subquery(run))


def _of_session(session_pk: int, after: int) -> QuerySet[JournalEntry]:
    return _rows().filter(session_id=session_pk, seq__gt=after).order_by("seq")


def _in_commit_order(after: Place) -> QuerySet[JournalEntry]:
    """Return the entries after a place, each with ``settled``: no older transaction may still add one."""
    rows = _rows().order_by("commit_order", "id")
    if on_postgresql():
        rows = rows.extra(where=[_AFTER, _UP_TO_HELD], params=list(after))  # noqa: S610 (constant text)
        return rows.annotate(settled=RawSQL(_SETTLED, []))  # noqa: S611 (constant text)
    # SQLite would use only the first column of a row comparison, and so scan the whole table.
    return rows.filter(commit_order=after.commit_order, id__gt=after.row).annotate(
        settled=Value(True, output_field=BooleanField())
    )


_SESSION_NEWS: Final = Prepared[JournalEntry](
    lambda session_pk, after: _of_session(session_pk, after)[: NEWS + 1], int, int
)
_GLOBAL_NEWS: Final = Prepared[JournalEntry](
    lambda commit_order, row: _in_commit_order(Place(commit_order, row))[: NEWS + 1], int, int
)


def _page(rows: QuerySet[JournalEntry], limit: int) -> Page[Any]:
    return _paged(list(rows[: limit + 1]), limit)


def _paged(found: Sequence[JournalEntry], limit: int) -> Page[Any]:
    """Make a page of ``found``, which may hold one entry more than ``limit``."""
    count = next((n for n, entry in enumerate(found) if not getattr(entry, "settled", True)), len(found))
    return Page(entries=tuple(found[: min(count, limit)]), has_more=count > limit, held=count < len(found))


def _event(entry: Any) -> Event:
    item = as_event(entry, entry.public_session, entry.public_run)
    return Event(
        place=place_of(entry),
        seq=entry.seq,
        kind=entry.kind,
        at=item["at"],
        session_pk=entry.session_id,
        session_id=entry.public_session,
        run_pk=entry.run_id,
        run_id=entry.public_run,
        data=json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"),
    )
