"""Making foreign text safe and readable on a terminal.

Tool output, model text and even ids come from strangers. A terminal obeys escape sequences, so every
string passes `clean` before it is printed; JSON shown for a decision passes `lib.visible`, which keeps
evidence of what was there instead of dropping it.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

# CSI and OSC/DCS/PM/APC sequences first, whole, so that "[31m" does not stay behind.
_SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-~]"
)
# C0 but tab and newline, DEL, C1, bidirectional controls (they reorder what is read), surrogates.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = re.compile(r"\s+")


def clean(value: object) -> str:
    """`value` as text without control characters; newlines and tabs stay."""
    text = str(value).replace("\r\n", "\n")
    return _UNSAFE.sub("", _SEQUENCES.sub("", text))


def one_line(value: object) -> str:
    """Cleaned text on one line, runs of white space folded."""
    return _BREAKS.sub(" ", clean(value)).strip()


def width(text: str) -> int:
    """Columns the text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def shorten(text: str, columns: int) -> str:
    """The text cut to at most `columns`, with an ellipsis when something is missing."""
    if width(text) <= columns:
        return text
    kept, used = [], 0
    for character in text:
        used += _columns(character)
        if used > columns - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def parse_time(value: object) -> datetime | None:
    """An RFC 3339 string as an aware time; None for anything else."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def age(value: object, *, now: datetime | None = None) -> str:
    """How long ago (or ahead) a moment is: `5 s ago`, `in 3 min`. Unreadable input comes back cleaned."""
    moment = parse_time(value)
    if moment is None:
        return one_line(value)
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A length of time in one unit a person would use."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86_400)} d"


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
