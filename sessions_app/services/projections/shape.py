"""Helpers of the projections."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.canonical import canonical_json
from kheish_site.lib.redaction import redact
from kheish_site.lib.visible import shortened, visible

View = dict[str, Any]
_SUMMARY: Final = 160  # characters of one call in the sentence that says what a run waits for
_TELLING: Final = ("command", "path", "url", "pattern")  # the argument that names a call best, in this order


def known(**members: Any) -> View:
    """Return the members that have a value; None means not known and is left out."""
    return {name: value for name, value in members.items() if value is not None}


def time(moment: datetime | None) -> str | None:
    """Return the time as JSON shows it."""
    return clock.rfc3339(moment)


def call_summary(tool_name: str, arguments: Mapping[str, Any]) -> str:
    """Return a call in one redacted line in which nothing hides, for instance ``bash: make deploy``."""
    telling = next((arguments[name] for name in _TELLING if isinstance(arguments.get(name), str)), None)
    shown = telling if telling is not None else canonical_json(dict(arguments)) if arguments else ""
    return one_line(visible(f"{tool_name}: {redact(shown)}") if shown else tool_name)


def questions_summary(questions: Iterable[Mapping[str, Any]]) -> str:
    """Return what an agent asks in one redacted line."""
    return one_line(redact(" / ".join(str(asked.get("question", "")) for asked in questions)))


def one_line(text: str) -> str:
    """Return the beginning of ``text`` without line breaks."""
    return shortened(" ".join(text.split()), _SUMMARY)
