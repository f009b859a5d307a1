"""How values look on the pages: words with a colour class, ages, links, and JSON that is always redacted."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import Model
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kheish_site.lib import clock
from kheish_site.lib.redaction import redact as redact  # every page shows through it
from kheish_site.lib.visible import visible
from sessions_app.admin import addresses
from sessions_app.services import reply_targets

LIMIT: Final = 20_000
"""Characters of one value a page shows; the whole is in the journal and in the API."""

NOTHING: Final = "–"  # noqa: RUF001 (a dash that reads as "none")

_COLOURS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("completed", "allowed", "answered", "succeeded", "reconciled", "resolved", "ok", "delivered"), "good"
    ),
    **dict.fromkeys(("running", "started", "in_progress", "live", "default", "sending"), "busy"),
    **dict.fromkeys(
        ("pending", "awaiting_approval", "unknown", "expired", "stale", "draining", "retrying"), "wait"
    ),
    **dict.fromkeys(("failed", "missing", "dead_lettered"), "bad"),  # a no is a decision, not a failure
}

Shown = Callable[[Any, Any], Any]
"""A column or field of a ``ModelAdmin``: called with it and the row."""


def badge(status: str) -> SafeString:
    """Return a status as word, icon and colour; waiting is amber, only failures are red."""
    colour = "wait" if status.startswith("waiting_") else _COLOURS.get(status, "calm")
    return badge_as(colour, words_of(status) or NOTHING, _status_icon(status, colour))


def words_of(status: str) -> str:
    """Return a status in the words of its badge."""
    return _WORDS.get(status) or status.replace("waiting_for_", "waits for ").replace("_", " ")


def badge_as(colour: str, words: str, name: str = "") -> SafeString:
    """Return ``words`` as a badge of a colour (good, busy, wait, bad or calm) with the icon ``name``."""
    drawn = icon(name or _COLOUR_ICONS[colour])
    return format_html('<span class="kh-badge kh-{}">{}{}</span>', colour, drawn, words)


def icon(name: str) -> SafeString:
    """Return a picture of the sprite; it says nothing that the words beside it do not."""
    return format_html(
        '<svg class="kh-icon" aria-hidden="true"><use href="{}#{}"/></svg>',
        static("sessions_app/icons.svg"),
        name,
    )


def _status_icon(status: str, colour: str) -> str:
    return _ICONS.get(status) or _COLOUR_ICONS[colour]


_WORDS: Final = {
    "waiting_for_user_question": "waits for an answer",
    "waiting_for_user_input": "waits for an answer",
    "waiting_for_operator": "waits for an operator",
    "waiting_for_budget": "waits for budget",
}
_COLOUR_ICONS: Final = {"good": "check", "busy": "play", "wait": "hand", "bad": "warn", "calm": "dot"}
_ICONS: Final = {
    "queued": "clock",
    "pending": "clock",
    "waiting_for_user_question": "question",
    "waiting_for_operator": "scale",
    "waiting_for_user_input": "question",
    "expired": "clock",
    "cancelled": "stop",
    "interrupted": "stop",
    "denied": "stop",
    "unknown": "question",
    "ended": "stop",
    "low": "shield",
    "medium": "shield",
    "high": "warn",
}


def risk(level: str) -> SafeString:
    """Return a risk as a badge."""
    colour = {"low": "good", "medium": "wait", "high": "bad"}.get(level, "calm")
    return badge_as(colour, level, _ICONS.get(level, "shield"))


def age(moment: datetime | None, *, now: datetime | None = None) -> SafeString | str:
    """Return how long ago (or ahead) ``moment`` is, with the exact UTC time beside it for those who point."""
    if moment is None:
        return NOTHING
    seconds = ((now or clock.now()) - moment).total_seconds()
    words = f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
    return format_html('<time datetime="{0}" title="{0}" data-ago>{1}</time>', clock.rfc3339(moment), words)


def span(seconds: float) -> str:
    """Return a length of time in its largest fitting unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"


def took(seconds: float) -> str:
    """Return how long something took, as exactly as people care."""
    if seconds < 1:
        return f"{max(round(seconds * 1000), 0)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def lasted(begin: datetime | None, end: datetime | None) -> str:
    """Return the time between two moments, or from the first until now."""
    return NOTHING if begin is None else took(((end or clock.now()) - begin).total_seconds())


def short(public_id: str) -> SafeString:
    """Return an id that fits a column, the whole of it on pointing; only long names lose their middle."""
    prefix, _, rest = public_id.partition("_")
    if len(rest) == 26 and rest.isalnum():  # a ULID: its beginning is the time and says little
        shown = f"{prefix}_…{rest[-6:]}"
    else:
        shown = public_id if len(public_id) <= 32 else f"{public_id[:20]}…{public_id[-8:]}"
    return format_html('<span class="kh-id" title="{}">{}</span>', public_id, shown)


def link(row: Model | None, text: object) -> SafeString | str:
    """Return a link to the page of ``row``."""
    return NOTHING if row is None else format_html('<a href="{}">{}</a>', addresses.of(row), text)


def link_at(url: str, text: object) -> SafeString | str:
    """Return ``text`` linked to ``url``, plain without one."""
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


def to_list(model: type[Model], text: str, **filters: Any) -> SafeString:
    """Return a link to a filtered list."""
    return format_html('<a href="{}">{}</a>', addresses.of_list(model, **filters), text)


def line(text: str) -> SafeString:
    """Return ``text`` on one line, what does not fit cut off by the browser; it must be redacted."""
    return format_html('<span class="kh-line">{}</span>', text)


def json_text(value: Any) -> str:
    """Return ``value`` redacted, as JSON for people in which nothing hides; it reads as the same value."""
    return visible(json.dumps(redact(value), indent=2, ensure_ascii=False, default=str))


def block(text: str, *, limit: int | None = LIMIT) -> SafeString | str:
    """Return ``text`` redacted in a box of its own; what is cut off is said."""
    if not text:
        return NOTHING
    clean = visible(redact(text))
    rest = len(clean) - limit if limit is not None else 0
    more = f"\n… {rest} more characters" if rest > 0 else ""
    shown = clean[:limit] if rest > 0 else clean
    return format_html('<pre class="kh-block" tabindex="0">{}{}</pre>', shown, more)


def json_block(value: Any, *, limit: int | None = LIMIT) -> SafeString | str:
    """Return ``value`` as pretty JSON in a box; empty values as a dash."""
    return NOTHING if value in (None, {}, [], "") else block(json_text(value), limit=limit)


def status_of(field: str = "status", label: str = "status") -> Shown:
    """Return a column that shows ``field`` as a badge."""

    @admin.display(description=label)
    def shown(self: Any, row: Any) -> SafeString:
        return badge(str(getattr(row, field)))

    return shown


def age_of(field: str, label: str) -> Shown:
    """Return a column that shows the age of ``field``, by the database's clock if the row has it."""

    @admin.display(description=label)
    def shown(self: Any, row: Any) -> SafeString | str:
        return age(getattr(row, field), now=getattr(row, "read_at", None))

    return shown


def json_of(field: str, label: str = "", *, whole: bool = False) -> Shown:
    """Return a field that shows a JSON column redacted; ``whole`` never cuts it."""

    @admin.display(description=label or field.replace("_", " "))
    def shown(self: Any, row: Any) -> SafeString | str:
        return json_block(getattr(row, field), limit=None if whole else LIMIT)

    return shown


def targets_of() -> Shown:
    """Return a field that shows where a session or run answers to, without what may be secret there."""

    @admin.display(description="reply targets")
    def shown(self: Any, row: Any) -> SafeString | str:
        return json_block(reply_targets.shown(row.reply_targets), limit=LIMIT)

    return shown


def text_of(field: str, label: str = "") -> Shown:
    """Return a field that shows a text column redacted in a box."""

    @admin.display(description=label or field.replace("_", " "))
    def shown(self: Any, row: Any) -> SafeString | str:
        return block(getattr(row, field))

    return shown


def line_of(field: str, label: str = "") -> Shown:
    """Return a field that shows a short text column redacted, on one line."""

    @admin.display(description=label or field.replace("_", " "))
    def shown(self: Any, row: Any) -> str:
        return redact(getattr(row, field)) or NOTHING

    return shown


def cell_of(field: str, label: str = "") -> Shown:
    """Return a column that shows the beginning of a text redacted, on one line, the rest on pointing."""

    @admin.display(description=label or field.replace("_", " "))
    def shown(self: Any, row: Any) -> SafeString | str:
        text = redact(getattr(row, field))
        return format_html('<span class="kh-line" title="{0}">{0}</span>', text) if text else NOTHING

    return shown


def id_of(field: str, label: str = "id") -> Shown:
    """Return a column that shows a public id, shortened."""

    @admin.display(description=label)
    def shown(self: Any, row: Any) -> SafeString:
        return short(getattr(row, field))

    return shown


def link_to(path: str, id_field: str, label: str) -> Shown:
    """Return a column that links to the row found along ``path`` (``run``, ``tool_call.run``) by its id."""

    @admin.display(description=label)
    def shown(self: Any, row: Any) -> SafeString | str:
        for name in path.split("."):
            row = getattr(row, name)
        return link(row, short(getattr(row, id_field)) if row is not None else "")

    return shown


def since(hours: float) -> datetime:
    """Return the moment so many hours ago."""
    return clock.now() - timedelta(hours=hours)
