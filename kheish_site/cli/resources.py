"""How each kind of thing is listed and shown: the columns, the id, and the command that lists it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kheish_site.cli.client import path as path_to
from kheish_site.cli.command import Context
from kheish_site.cli.output import Style
from kheish_site.cli.text import age, one_line

Item = Mapping[str, Any]
Cell = str | Callable[[Item], str]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """`columns` pair a title with a field name or a function of the item."""

    name: str
    plural: str
    id_field: str
    columns: tuple[tuple[str, Cell], ...]
    empty: str = ""

    def row(self, item: Item) -> list[str]:
        return [_cell(item, cell) for _, cell in self.columns]


STATUS_STYLES: dict[str, Style] = {
    "running": "blue",
    "completed": "green",
    "allowed": "green",
    "failed": "red",
    "error": "red",
    "delivered": "green",
    "dead_lettered": "red",
    "unknown": "amber",
    "pending": "amber",
    "warning": "amber",
}


def status_style(status: object) -> Style:
    """Amber for what waits for a person, red for failures, and calm for the rest."""
    text = str(status)
    return "amber" if text.startswith("waiting") else STATUS_STYLES.get(text, "")


def ago(name: str) -> Cell:
    return lambda item: age(item[name]) if item.get(name) else ""


def gist(name: str) -> Cell:
    return lambda item: one_line(item.get(name) or "")[:200]


def _persona(item: Item) -> str:
    bound = item.get("persona") or {}
    return f"{bound.get('persona_id', '')}@{bound.get('revision', '')}" if bound else ""


def _waits(item: Item) -> str:
    names = ("approvals", "questions", "decisions")
    counts = [(name, item.get(f"pending_{name}") or 0) for name in names]
    return ", ".join(f"{n if isinstance(n, int) else len(n)} {name}" for name, n in counts if n)


def _preview(item: Item) -> str:
    return one_line((item.get("request") or {}).get("text_preview") or "")[:200]


def _run_status(item: Item) -> str:
    position = item.get("queued_position")
    return f"{item.get('status')} #{position}" if position else str(item.get("status", ""))


def _headers(item: Item) -> str:
    return "; ".join(one_line(question.get("question") or "") for question in item.get("questions") or [])


def _input(item: Item) -> str:
    return one_line(", ".join(f"{key}={value}" for key, value in (item.get("input") or {}).items()))[:200]


def _used_by(item: Item) -> str:
    return ", ".join(map(str, item.get("referenced_by") or []))


SESSION = Resource(
    name="session",
    plural="sessions",
    id_field="session_id",
    empty="No session yet. Make one: {} sessions create demo",
    columns=(
        ("SESSION", "session_id"),
        ("STATUS", "status"),
        ("PERSONA", _persona),
        ("QUEUED", "queued_runs"),
        ("NEEDS", _waits),
        ("UPDATED", ago("updated_at")),
    ),
)
RUN = Resource(
    name="run",
    plural="runs",
    id_field="run_id",
    empty='No run yet. Start one: {} sessions input SESSION "…"',
    columns=(
        ("RUN", "run_id"),
        ("SESSION", "session_id"),
        ("STATUS", _run_status),
        ("STEP", "step"),
        ("SUBMITTED", ago("submitted_at")),
        ("INPUT", _preview),
    ),
)
APPROVAL = Resource(
    name="approval",
    plural="approvals",
    id_field="approval_id",
    empty="Nothing waits for approval.",
    columns=(
        ("APPROVAL", "approval_id"),
        ("SESSION", "session_id"),
        ("TOOL", "tool_name"),
        ("STATUS", "status"),
        ("ASKED", ago("created_at")),
        ("INPUT", _input),
    ),
)
QUESTION = Resource(
    name="question",
    plural="questions",
    id_field="question_id",
    empty="No question is open.",
    columns=(
        ("QUESTION", "question_id"),
        ("SESSION", "session_id"),
        ("STATUS", "status"),
        ("ASKED", ago("created_at")),
        ("TEXT", _headers),
    ),
)
DECISION = Resource(
    name="decision",
    plural="decisions",
    id_field="decision_id",
    empty="No effect is in doubt.",
    columns=(
        ("DECISION", "decision_id"),
        ("SESSION", "session_id"),
        ("TOOL", "tool_name"),
        ("STATUS", "status"),
        ("ASKED", ago("created_at")),
        ("INPUT", _input),
    ),
)
TASK = Resource(
    name="task",
    plural="tasks",
    id_field="task_id",
    empty="No task in this session.",
    columns=(
        ("TASK", "task_id"),
        ("STATUS", "status"),
        ("EXIT", "exit_code"),
        ("STARTED", ago("started_at")),
        ("COMMAND", gist("command")),
    ),
)
ASSET = Resource(
    name="asset",
    plural="assets",
    id_field="asset_id",
    empty="No file is stored. Store one: {} assets upload FILE",
    columns=(
        ("ASSET", "asset_id"),
        ("FILE", gist("file_name")),
        ("TYPE", "media_type"),
        ("BYTES", "size_bytes"),
        ("STORED", ago("created_at")),
    ),
)
PERSONA = Resource(
    name="persona",
    plural="personas",
    id_field="persona_id",
    empty="No persona yet. Import one: {} personas import FILE.md",
    columns=(
        ("PERSONA", "persona_id"),
        ("NAME", "display_name"),
        ("REVISION", "revision"),
        ("STATUS", "status"),
        ("OWNER", "owner"),
        ("UPDATED", ago("updated_at")),
    ),
)
ROUTE = Resource(
    name="route",
    plural="routes",
    id_field="route_id",
    empty="No route. Make one: {} routes create --help",
    columns=(
        ("ROUTE", "route_id"),
        ("DRIVER", "driver"),
        ("MODEL", "model"),
        ("STATUS", "status"),
        ("DEFAULT", lambda item: "default" if item.get("default") else ""),
        ("SECRET", "auth_ref"),
    ),
)
SECRET = Resource(
    name="secret",
    plural="secrets",
    id_field="slot_id",
    empty="No secret slot. Fill one: {} secrets set SLOT",
    columns=(
        ("SLOT", "slot_id"),
        ("PROVIDER", "provider"),
        ("STATE", "state"),
        ("UPDATED", ago("updated_at")),
        ("USED BY", _used_by),
    ),
)
HIT = Resource(
    name="hit",
    plural="hits",
    id_field="id",
    columns=(
        ("KIND", "kind"),
        ("ID", "id"),
        ("BY", "by"),
        ("SESSION", "session_id"),
        ("WHEN", ago("at")),
        ("WHAT", gist("excerpt")),
    ),
)
AUDIT_ENTRY = Resource(
    name="audit entry",
    plural="audit entries",
    id_field="entry_id",
    empty="Nothing was changed yet.",
    columns=(
        ("WHEN", ago("at")),
        ("WHO", "principal"),
        ("FROM", "remote_addr"),
        ("ACTION", "action"),
        ("OBJECT", "object_id"),
        ("REASON", gist("reason")),
    ),
)
TOKEN = Resource(
    name="token",
    plural="tokens",
    id_field="token_id",
    empty="No token.",
    columns=(
        ("TOKEN", "token_id"),
        ("NAME", "name"),
        ("ROLE", "role"),
        ("EXPIRES", ago("expires_at")),
        ("LAST USED", ago("last_used_at")),
        ("REVOKED", ago("revoked_at")),
    ),
)
CONNECTOR = Resource(
    name="connector",
    plural="connectors",
    id_field="name",
    empty="No connector. Make one: {} connectors set http NAME --secret bearer_token=slot:SLOT",
    columns=(
        ("KIND", "kind"),
        ("CONNECTOR", "name"),
        ("STATUS", "status"),
        ("LAST EVENT", lambda item: age(at) if (at := item["activity"]["last_event_at"]) else ""),
        ("EVENTS/H", lambda item: str(item["activity"]["accepted_events"])),
        ("REPEATS/H", lambda item: str(item["activity"]["duplicate_events"])),
        ("REFUSED", lambda item: str(item["activity"]["refused_events"])),
        ("SOURCE", "source"),
    ),
)
IDENTITY = Resource(
    name="identity",
    plural="identities",
    id_field="external_id",
    empty="Nobody may decide from this chat yet. Map one: {} identities set KIND NAME PERSON PRINCIPAL",
    columns=(
        ("PERSON", "external_id"),
        ("ACTS AS", "principal"),
        ("ROLE", "role"),
        ("NOW", lambda item: item.get("effective_role") or "nobody"),
        ("MAPPED BY", "created_by"),
        ("SINCE", ago("created_at")),
    ),
)

ACTION = Resource(
    name="record",
    plural="records",
    id_field="action_id",
    empty="Nothing has left the service yet.",
    columns=(
        ("CHAIN", lambda item: f"{item.get('bucket')}#{item.get('seq')}"),
        ("AT", ago("at")),
        ("KIND", "kind"),
        ("PHASE", "phase"),
        ("TARGET", "target"),
        ("OUTCOME", "outcome"),
        ("WHO", "principal_id"),
        ("ALLOWED BY", "grant_id"),
    ),
)

DELIVERY = Resource(
    name="delivery",
    plural="deliveries",
    id_field="delivery_id",
    empty="Nothing was sent out. Say where answers go: {} sessions reply-targets add SESSION URL",
    columns=(
        ("DELIVERY", "delivery_id"),
        ("SESSION", "session_id"),
        ("TARGET", "target"),
        ("STATUS", "status"),
        ("ATTEMPTS", "attempts"),
        ("QUEUED", ago("created_at")),
        ("ERROR", lambda item: one_line((item.get("last_error") or {}).get("message") or "")[:200]),
    ),
)
TARGET = Resource(
    name="delivery target",
    plural="delivery targets",
    id_field="target",
    empty="Nothing was sent out yet.",
    columns=(
        ("TARGET", "target"),
        ("WAITING", "queued"),
        ("FAILURES", "consecutive_failures"),
        ("PAUSED", lambda item: "paused" if item.get("paused") else ""),
        ("CIRCUIT OPEN UNTIL", lambda item: str(item.get("circuit_open_until") or "")),
        ("LAST ATTEMPT", ago("last_attempt_at")),
    ),
)

OBSERVATION_SOURCE = Resource(
    name="observation source",
    plural="observation sources",
    id_field="source_id",
    empty="No observation source. Make one: {} observations sources create --help",
    columns=(
        ("SOURCE", "source_id"),
        ("KIND", "kind"),
        ("KEPT", lambda item: str((item.get("observations") or {}).get("count", ""))),
        ("SENSITIVE", lambda item: "sensitive" if item.get("sensitive") else ""),
        ("TOKENS", lambda item: str(len(item.get("tokens") or []))),
        ("STATE", lambda item: "enabled" if item.get("enabled") else "disabled"),
    ),
)
OBSERVATION = Resource(
    name="observation",
    plural="observations",
    id_field="observation_id",
    empty="Nothing is kept of this source. A device sends: {} observations upload --help",
    columns=(
        ("OBSERVATION", "observation_id"),
        ("TYPE", "media_type"),
        ("BYTES", "size_bytes"),
        ("STREAM", "stream_id"),
        ("RECEIVED", ago("received_at")),
        ("PURGED", "purge_reason"),
    ),
)
OBSERVATION_SCHEDULE = Resource(
    name="observation schedule",
    plural="observation schedules",
    id_field="schedule_id",
    empty="Nobody looks at this source by itself: {} observations schedules create --help",
    columns=(
        ("SCHEDULE", "schedule_id"),
        ("SESSION", "session_id"),
        ("EVERY S", "interval_seconds"),
        ("LAST", "last_outcome"),
        ("RUN", "last_run_id"),
        ("PROMPT", gist("prompt")),
    ),
)

RESOURCES = tuple(value for value in list(globals().values()) if isinstance(value, Resource))


def show_list(
    context: Context, resource: Resource, path: str, query: Mapping[str, object] | None = None
) -> None:
    """Print a list: a table, the page as the service gave it, or ids. Honours --limit, --cursor, --all."""
    page = fetch_items(context, path, query)
    items = page["items"]
    if context.out.mode == "json":
        context.out.document(page)
    elif context.out.mode == "quiet":
        for item in items:
            context.out.line(str(item[resource.id_field]))
    elif not items:
        from_program = context.command("").strip()
        context.out.word(resource.empty.replace("{}", from_program), "dim")
    else:
        styles = [status_style(item.get("status", "")) for item in items]
        context.out.table(
            [title for title, _ in resource.columns], [resource.row(item) for item in items], styles
        )
        _more(context, page)


def fetch_items(context: Context, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Pages merged into one `{items, pagination}` of at most --limit items."""
    args = context.args
    wanted = float("inf") if args.all else args.limit
    items: list[Any] = []
    cursor = args.cursor
    while True:
        page = context.client.page(path, query=query, limit=int(min(100, wanted - len(items))), cursor=cursor)
        items += page["items"]
        cursor = page["pagination"].get("next_cursor")
        if not cursor or len(items) >= wanted:
            if not items:
                _ask_for_what_was_named(context, query or {})
            return {"items": items, "pagination": page["pagination"]}


def _ask_for_what_was_named(context: Context, query: Mapping[str, object]) -> None:
    """Nothing of a session or run may mean that there is none of that name: then this raises its Problem."""
    for name, kind in (("session_id", "sessions"), ("run_id", "runs")):
        if query.get(name):
            context.client.get(path_to(kind, str(query[name])))


def show_one(context: Context, resource: Resource, item: Item) -> None:
    """Print one object: a record, a document, or its id."""
    if context.out.mode == "json":
        context.out.document(item)
    elif context.out.mode == "quiet":
        context.out.line(str(item[resource.id_field]))
    else:
        context.out.record(item)


def show_gone(context: Context, done: Literal["deleted", "revoked"], **ids: str) -> None:
    """Say that a thing is no more: in words, as a document, or by its id, the last of `ids`."""
    if context.out.mode == "json":
        context.out.document({**ids, done: True})
    elif context.out.mode == "quiet":
        context.out.line(list(ids.values())[-1])
    else:
        context.out.word(f"{done.capitalize()} {'/'.join(ids.values())}.", "dim")


def _more(context: Context, page: Mapping[str, Any]) -> None:
    pagination = page["pagination"]
    if pagination.get("has_more"):
        total = pagination.get("total_count")
        of = f" of {total}" if total is not None else ""
        context.out.word(
            f"{len(page['items'])}{of} shown; add --all, or --cursor {pagination['next_cursor']}", "dim"
        )


def _cell(item: Item, cell: Cell) -> str:
    if callable(cell):
        return cell(item)
    value = item.get(cell)
    return "" if value is None else one_line(value)
