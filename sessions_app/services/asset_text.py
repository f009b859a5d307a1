"""The text in a file: of text files their own, of PDF what its pages say. Other files have none."""

from dataclasses import dataclass
from typing import Final

from sessions_app.services import asset_child
from sessions_app.services.asset_types import AssetType, decode

MAX_PAGES: Final = 128
MAX_CHARACTERS: Final = 4_194_304
PAGES_SECONDS: Final = 7.0
"""Time after which no further page is begun, so that those before are not lost with the process."""


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A file's text as UTF-8, None when it has none; ``note`` says what is missing and why."""

    content: bytes | None = None
    note: str = ""


def derive(content: bytes, known: AssetType) -> Derived:
    """Return the text of a file that ``judge`` has accepted. Never raises for what the file holds."""
    if known.kind == "text":
        return Derived(content=(decode(content) or "").encode())
    if known.kind != "document":
        return Derived()
    found = asset_child.ask(
        {
            "task": "pdf_text",
            "max_pages": MAX_PAGES,
            "max_characters": MAX_CHARACTERS,
            "seconds": PAGES_SECONDS,
        },
        content,
    )
    if found.error:
        return Derived(note=found.error)
    if not found.body.strip():
        return Derived(note="its pages hold no text")
    return Derived(content=found.body, note=str(found.facts.get("note", "")))
