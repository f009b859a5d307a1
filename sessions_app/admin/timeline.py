"""The journal as a section of a page: what happened, newest first."""

from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from kheish_site.cli.words import describe
from sessions_app.admin import show
from sessions_app.admin.base import Section
from sessions_app.models import JournalEntry

SHOWN: Final = 40
PAYLOAD_LIMIT: Final = 2_000
"""Characters of a payload in a list; the page of the entry shows more."""
_TONES: Final = {"amber": "wait", "red": "bad", "green": "good", "blue": "busy"}


def section(rows: Any, more: Any) -> Section:
    """Return the newest entries of ``rows``, with a link to all of them."""
    entries = list(rows.order_by("-seq")[:SHOWN])
    return Section(
        title="Journal, newest first",
        columns=("seq", "when", "what happened"),
        rows=[_row(entry) for entry in entries],
        more=more,
        empty="Nothing is written down yet.",
        css="kh-timeline",
    )


def _row(entry: JournalEntry) -> tuple[Any, Any, Any]:
    return show.link(entry, f"#{entry.seq}"), show.age(entry.at), told(entry)


def told(entry: JournalEntry) -> SafeString:
    """Return an entry in words, its payload a click away."""
    _, _, style, words = describe({"kind": entry.kind, "payload": show.redact(entry.payload)})
    first, _, rest = words.partition("\n")
    gist = first if len(first) <= 200 and not rest else f"{first[:200]}…"
    return format_html(
        '<details><summary><span class="kh-dot kh-{}"></span> {} <code>{}</code></summary>{}</details>',
        _TONES.get(style, "calm"),
        gist or entry.kind,
        entry.kind,
        show.json_block(entry.payload, limit=PAYLOAD_LIMIT),
    )
