"""Printing a stream of journal entries, and the live text beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish_site.cli.client import RUN_ENDED
from kheish_site.cli.output import Output
from kheish_site.cli.sse import StreamEvent
from kheish_site.cli.text import clean, one_line, parse_time
from kheish_site.cli.words import describe


def kind_of(event: StreamEvent) -> str:
    """The journal kind an event carries; its name for live extras."""
    return str(event.data.get("kind") or event.name) if isinstance(event.data, Mapping) else event.name


class Timeline:
    """Prints a stream in the mode of `out`: lines for people, objects for programs, seqs for --quiet."""

    def __init__(self, out: Output, *, deltas: bool = False, with_session: bool = False) -> None:
        self._out = out
        self._deltas = deltas
        self._with_session = with_session
        self._live = ""

    def show(self, event: StreamEvent) -> None:
        """Print one event. The closing `run.ended` is no journal entry and is left out."""
        entry = event.data
        if not isinstance(entry, Mapping) or event.name == RUN_ENDED:
            return
        if not event.id and "seq" not in entry:
            self._show_delta(event.name, entry)
        elif self._out.mode == "json":
            self._out.json_line(entry)
        elif self._out.mode == "quiet":
            self._out.line(str(entry.get("seq", event.id)))
        else:
            self.show_entry(entry)

    def show_entry(self, entry: Mapping[str, Any]) -> None:
        """One journal entry for people."""
        icon, plain, style, words = describe(entry)
        if self._close_live(entry, words) or not words:
            return
        at = parse_time(entry.get("at"))
        clock = at.astimezone().strftime("%H:%M:%S") if at else "--:--:--"
        where = f"{one_line(entry.get('session_id') or '')}  " if self._with_session else ""
        indented = words.replace("\n", "\n" + " " * 13)
        self._out.line(f"{clock}  {self._out.icon(icon, plain)}  {where}{indented}", style)

    def close(self) -> None:
        """End a half-written live line."""
        if self._live:
            self._out.piece("\n")
            self._live = ""

    def _show_delta(self, name: str, data: Mapping[str, Any]) -> None:
        """A live extra. Shown on a terminal as it arrives; the durable message replaces it."""
        if self._out.mode == "json":
            if self._deltas:
                self._out.json_line({"kind": name, **data})
            return
        text = data.get("text") or data.get("delta") or ""
        single = not self._with_session and self._out.mode == "human" and self._out.is_terminal
        if single and "reasoning" not in name and isinstance(text, str) and text:
            self._out.piece(text if self._live else f"{'':10}{self._out.icon('✎', '-')}  {text}")
            self._live += text

    def _close_live(self, entry: Mapping[str, Any], words: str) -> bool:
        """End the live line; true when the entry says just what was already shown live."""
        shown, is_message = clean(self._live).strip(), entry.get("kind") == "message.created"
        self.close()
        return bool(shown) and is_message and words == f"assistant: {shown}"
