"""One search for the console, the API and the command line: ids, names other systems know, and text.

A whole id jumps. Ids and outside names are looked up in indexes; text is looked for in the newest rows only
(``WINDOW``), so that a search costs the same however long the history is. What is found is shown redacted,
and a match inside what is masked is none.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import BadRequest
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import on_postgresql
from sessions_app.models import (
    Approval,
    Asset,
    AuditEntry,
    IdempotencyRecord,
    OperatorDecision,
    Persona,
    Route,
    Run,
    Session,
    ShellTask,
    ToolCall,
    UserQuestion,
)
from sessions_app.services import ports
from sessions_app.services.ports import Hit
from sessions_app.services.principal import Principal
from sessions_app.services.projections.shape import known

LONGEST: Final = 200
MOST: Final = 50
WINDOW: Final = 2_000
"""Newest runs and sessions in which text is looked for."""
_SHORTEST_BEGINNING: Final = 3
"""Fewer characters begin too many ids to name one; as words they are looked for: some are whole ones."""
_AROUND: Final = 60  # characters of an excerpt on each side of what was found
_HIGHEST: Final = "\U0010ffff"
_RUN_LOCATION: Final = "/v1/runs/"


class SearchTextInvalid(BadRequest):
    """There is nothing to look for, or too much."""

    code, domain = "invalid_search", "search"


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A table whose rows have a public id: ``column`` holds it, ``run`` leads to the run it belongs to."""

    kind: str
    model: type[Model]
    column: str
    prefix: str = ""
    run: str = ""
    when: str = "created_at"
    admins_only: bool = False


_NAMED: Final = (
    _Named(kind="run", model=Run, column="run_id", prefix="run_", when="submitted_at"),
    _Named(kind="session", model=Session, column="session_id"),
    _Named(kind="approval", model=Approval, column="approval_id", prefix="apr_", run="run__run_id"),
    _Named(kind="question", model=UserQuestion, column="question_id", prefix="qst_", run="run__run_id"),
    _Named(kind="decision", model=OperatorDecision, column="decision_id", prefix="dec_", run="run__run_id"),
    _Named(kind="tool_call", model=ToolCall, column="call_id", prefix="call_", run="run__run_id"),
    _Named(
        kind="task", model=ShellTask, column="task_id", prefix="task_", run="run__run_id", when="started_at"
    ),
    _Named(kind="asset", model=Asset, column="asset_id", prefix="asset_"),
    _Named(kind="persona", model=Persona, column="persona_id"),
    _Named(kind="route", model=Route, column="route_id"),
    _Named(
        kind="audit_entry", model=AuditEntry, column="entry_id", prefix="aud_", when="at", admins_only=True
    ),
)


@dataclass
class Found:
    """What came of a search: ``jump`` has the whole id that was given, ``more`` says that some is left."""

    query: str
    jump: Hit | None = None
    items: list[Hit] = field(default_factory=list)
    more: bool = False

    def view(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "query": self.query,
            "jump": hit_view(self.jump) if self.jump is not None else None,
            "items": [hit_view(hit) for hit in self.items],
            "more": self.more,
            "text_window": WINDOW,
        }


def hit_view(hit: Hit) -> dict[str, Any]:
    """Return one hit as JSON."""
    return {
        "kind": hit.kind,
        "id": hit.item_id,
        "by": hit.by,
        "excerpt": redact(hit.excerpt),
        **known(
            session_id=hit.session_id or None, run_id=hit.run_id or None, at=clock.rfc3339(hit.at) or None
        ),
    }


def search(text: str, *, principal: Principal, limit: int = 20) -> Found:
    """Return what ``text`` finds, best first: a whole id, the beginning of one, an outside name, words.

    At most ``limit`` (50) hits, each object once. A fixed number of queries. Raises: SearchTextInvalid.
    """
    wanted = text.strip()
    if not wanted or len(wanted) > LONGEST:
        raise SearchTextInvalid(f"a search has 1 to {LONGEST} characters")
    found, seen = Found(query=wanted), set[tuple[str, str]]()
    limit = max(1, min(limit, MOST))
    ways: Iterable[Callable[[str, Principal], Iterator[Hit]]] = (_whole_ids, _beginnings, _outside, _texts)
    for hit in (hit for way in ways for hit in islice(way(wanted, principal), limit + 1)):
        if (hit.kind, hit.item_id) in seen:
            continue
        seen.add((hit.kind, hit.item_id))
        if hit.by == "id" and hit.item_id == wanted and found.jump is None:
            found.jump = hit
        if len(found.items) == limit:
            found.more = True
            break
        found.items.append(hit)
    return found


def _tables(text: str, principal: Principal) -> list[_Named]:
    """Return the tables whose ids may look like ``text`` and that the caller may see."""
    prefixed = [table for table in _NAMED if table.prefix and text.startswith(table.prefix)]
    free = [table for table in _NAMED if not table.prefix]
    return [t for t in (*prefixed, *free) if principal.can_administer or not t.admins_only]


def _whole_ids(text: str, principal: Principal) -> Iterator[Hit]:
    for table in _tables(text, principal):
        yield from _hits(table, table.model._default_manager.filter(**{table.column: text}))


def _beginnings(text: str, principal: Principal) -> Iterator[Hit]:
    if len(text) < _SHORTEST_BEGINNING:
        return
    for table in _tables(text, principal):
        rows = table.model._default_manager.filter(begins(table.column, text))
        yield from _hits(table, rows.order_by(f"-{table.column}")[: MOST + 1])


def begins(column: str, text: str) -> Q:
    """Return the condition that a unique text column begins with ``text``, in the form its index answers.

    PostgreSQL has a pattern index for ``LIKE``; SQLite compares bytes, so there it is a range.
    """
    if on_postgresql():
        return Q(**{f"{column}__startswith": text})
    return Q(**{f"{column}__gte": text, f"{column}__lt": text + _HIGHEST})


def _hits(table: _Named, rows: QuerySet[Any]) -> Iterator[Hit]:
    columns = [table.column, table.when, *([table.run] if table.run else [])]
    for item_id, at, *run in rows.values_list(*columns):
        yield Hit(kind=table.kind, item_id=item_id, by="id", at=at, run_id=run[0] if run else "")


def _outside(text: str, principal: Principal) -> Iterator[Hit]:
    """Yield what other systems know by this name: idempotency keys here, the rest in the apps above."""
    records = IdempotencyRecord.objects.filter(key_digest=sha256_hex(text)).order_by("-id")
    for headers in records.values_list("headers", flat=True)[:MOST]:
        location = str(headers.get("Location", ""))
        if location.startswith(_RUN_LOCATION):
            run_id = location.removeprefix(_RUN_LOCATION)
            yield Hit(kind="run", item_id=run_id, by="idempotency_key", excerpt=text)
    yield from ports.search(text)


def _texts(text: str, principal: Principal) -> Iterator[Hit]:
    inside = json.dumps(text, ensure_ascii=not on_postgresql())[1:-1]  # as a JSON column holds it
    runs = _newest(Run).annotate(said=Cast("outputs", TextField()), asked=KT("input_message__content"))
    matching = Q(asked__icontains=text) | Q(said__icontains=inside) | Q(actor_id=text)
    rows = runs.filter(matching).select_related("session").order_by("-pk")
    for run in rows[: MOST + 1]:
        if (excerpt := _excerpt_of(run, text)) is not None:
            yield Hit(
                kind="run",
                item_id=run.run_id,
                by="text",
                excerpt=excerpt,
                session_id=run.session.session_id,
                at=run.submitted_at,
            )
    named = Q(session_id__icontains=text) | Q(thread_id__icontains=text)
    for session in _newest(Session).filter(named).order_by("-pk")[: MOST + 1]:
        excerpt = excerpt_around(f"{session.session_id} {session.thread_id}".strip(), text) or ""
        yield Hit(
            kind="session", item_id=session.session_id, by="text", excerpt=excerpt, at=session.created_at
        )


def _newest(model: type[Any]) -> QuerySet[Any]:
    """Return the newest ``WINDOW`` rows of a table, found by its primary key."""
    newest = model._default_manager.order_by("-pk").values("pk")[:WINDOW]
    return model._default_manager.filter(pk__in=newest)


def _excerpt_of(run: Run, text: str) -> str | None:
    """Return the words around the match as anybody may read them; None when it is inside what is masked."""
    if run.actor_id == text:
        return text
    said = [str(run.input_message.get("content", ""))]
    for output in run.outputs:
        parts: Iterable[Mapping[str, Any]] = output.get("parts", ())
        said += [str(output.get("content", "")), *(str(part.get("text", "")) for part in parts)]
    return next(filter(None, (excerpt_around(words, text) for words in said)), None)


def excerpt_around(words: str, text: str) -> str | None:
    """Return a line of ``words``, redacted, around the first place where ``text`` stands, or None."""
    flat = " ".join(str(redact(words)).split())
    place = flat.casefold().find(" ".join(text.split()).casefold())
    if place < 0:
        return None
    begin, end = max(place - _AROUND, 0), place + len(text) + _AROUND
    return f"{'…' if begin else ''}{flat[begin:end]}{'…' if end < len(flat) else ''}"
