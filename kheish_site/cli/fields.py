"""The fields of one object as text for a person: words where they are ours, JSON where it is a stranger's.

A nested object becomes `name value` pairs, a list of words one line, a list of flat objects a table.
Everything in `LITERAL` stays JSON: somebody may decide by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kheish_site.cli.text import age, clean, one_line, parse_time, width
from kheish_site.lib.visible import visible

LITERAL = frozenset(
    {
        "arguments", "generation", "input", "input_items", "metadata", "options", "outputs",
        "payload", "result", "settings",
    }
)  # fmt: skip
"""Fields that hold JSON of an agent, a submitter or an operator."""
GAP = "  "
LINE = 80
"""Columns of a value that stays on one line."""
TABLE = 110
"""Columns of a table inside of an object."""
_BREAKS = frozenset(" ,\n")
"""Characters that would blur where one of several values on a line ends."""


def told(name: str, value: Any) -> str:
    """The value of field `name` as text, of several lines where it is long. Unsafe characters are gone."""
    if name in LITERAL and isinstance(value, dict | list):
        return pretty(value)
    if isinstance(value, dict):
        return _pairs(value)
    if isinstance(value, list):
        return _items(value)
    if name.endswith("_at") and parse_time(value) is not None:
        return f"{clean(value)}  ({age(value)})"
    return _scalar(value)


def aligned(pairs: Sequence[tuple[str, str]], paint: Callable[[str], str] = str) -> list[str]:
    """`name  value` lines with the values under each other, also those of several lines; names painted."""
    longest = max((width(name) for name, _ in pairs), default=0)
    rest = "\n" + " " * (longest + len(GAP))
    padded = [(name + " " * (longest - width(name)), text) for name, text in pairs]
    return [paint(name) + GAP + text.replace("\n", rest) for name, text in padded]


def pretty(value: Any) -> str:
    """JSON for people: readable characters, unsafe ones written out. Short values stay on one line."""
    compact = json.dumps(value, ensure_ascii=False)
    return visible(compact if len(compact) <= LINE else json.dumps(value, ensure_ascii=False, indent=2))


def _pairs(value: Mapping[str, Any]) -> str:
    """Short words beside each other, anything else under each other; empty values left out."""
    shown = [(one_line(name), told(name, item)) for name, item in value.items() if not is_empty(item)]
    line = ", ".join(f"{name} {text}" for name, text in shown)
    if width(line) <= LINE and not any(_BREAKS & set(text) for _, text in shown):
        return line or "none"
    return "\n".join(aligned(shown))


def _items(items: Sequence[Any]) -> str:
    if any(isinstance(item, dict) for item in items):
        return _table(items)
    words = [told("", item) for item in items]
    line = ", ".join(words)
    single = width(line) <= LINE and not any(mark in word for word in words for mark in ",\n")
    return line if single else "\n".join(words)


def _table(rows: Sequence[Any]) -> str:
    """The rows under their names if they fit beside each other, else one after the other."""
    flat = [row for row in rows if isinstance(row, dict) and not any(map(_is_nested, row.values()))]
    names = list(dict.fromkeys(name for row in flat for name, item in row.items() if not is_empty(item)))
    cells = [names, *([one_line(_scalar(row.get(name))) for name in names] for row in flat)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    if len(flat) < len(rows) or sum(widths) + len(GAP) * (len(widths) - 1) > TABLE:
        return "\n\n".join(told("", row) for row in rows)
    padded = [
        [text + " " * (size - width(text)) for text, size in zip(row, widths, strict=True)] for row in cells
    ]
    return "\n".join(GAP.join(row).rstrip() for row in padded)


def is_empty(value: Any) -> bool:
    """Whether there is nothing to show; False and 0 are something."""
    return value in (None, "", [], {})


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list) and not is_empty(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else clean(value)
