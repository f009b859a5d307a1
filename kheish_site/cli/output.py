"""Printing: data on standard output, words on standard error, and nothing unsafe on either.

Three modes. `human`: tables and records, coloured on a terminal. `json`: one document, or one object a
line for streams. `quiet`: ids only.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TextIO

from kheish_site.cli.fields import GAP, aligned, is_empty, told
from kheish_site.cli.text import clean, one_line, shorten, width

Mode = Literal["human", "json", "quiet"]
Style = Literal["", "dim", "bold", "red", "green", "amber", "blue"]

CODES: dict[str, str] = {"dim": "2", "bold": "1", "red": "31", "green": "32", "amber": "33", "blue": "34"}
NARROWEST_COLUMN = 8


class Output:
    """Where a command writes. stdout and stderr are text streams; environ supplies NO_COLOR and TERM."""

    def __init__(
        self, *, stdout: TextIO, stderr: TextIO, environ: Mapping[str, str], mode: Mode = "human"
    ) -> None:
        self.mode: Mode = mode
        self.stdout = stdout
        self.stderr = stderr
        self.is_terminal = stdout.isatty()
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self._colour_out = self.is_terminal and not plain
        self._colour_err = stderr.isatty() and not plain
        self._unicode = "utf" in (getattr(stdout, "encoding", None) or "utf-8").lower()

    def line(self, text: str = "", style: Style = "") -> None:
        """A line of data. Control characters are removed."""
        print(self._paint(clean(text), style, self._colour_out), file=self.stdout, flush=self.is_terminal)

    def piece(self, text: str) -> None:
        """Part of a line, shown at once: text as it is being written by a model."""
        print(clean(text), end="", file=self.stdout, flush=True)

    def word(self, text: str, style: Style = "") -> None:
        """A line for the person, on standard error."""
        print(self._paint(clean(text), style, self._colour_err), file=self.stderr, flush=True)

    def document(self, value: Any) -> None:
        """One JSON document. ASCII only, which no terminal can take for a command."""
        print(json.dumps(value, indent=2), file=self.stdout)

    def json_line(self, value: Any) -> None:
        """One JSON object on a line of a stream, flushed so that a reader down the pipe sees it now."""
        print(json.dumps(value, separators=(",", ":")), file=self.stdout, flush=True)

    def icon(self, character: str, plain: str) -> str:
        return character if self._unicode else plain

    def table(
        self, titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Style] = ()
    ) -> None:
        """Aligned columns; on a terminal the widest one gives way so that a row stays on one line."""
        cells = [[one_line(cell) for cell in row] for row in rows]
        widths = [max(width(cell) for cell in column) for column in zip(titles, *cells, strict=True)]
        if self.is_terminal:
            widths = fit(widths, shutil.get_terminal_size().columns)
        self._row(list(titles), widths, "dim")
        for index, row in enumerate(cells):
            self._row(row, widths, styles[index] if index < len(styles) else "")

    def record(self, value: Mapping[str, Any]) -> None:
        """One object as `name  value` lines (`fields.told`), empty values left out."""
        shown = [(one_line(name), told(name, item)) for name, item in value.items() if not is_empty(item)]
        for line in aligned(shown, lambda name: self._paint(name, "dim", self._colour_out)):
            print(line, file=self.stdout)

    def _row(self, cells: Sequence[str], widths: Sequence[int], style: Style) -> None:
        parts = [
            shorten(cell, size) + " " * (size - width(shorten(cell, size)))
            for cell, size in zip(cells, widths, strict=True)
        ]
        print(self._paint(GAP.join(parts).rstrip(), style, self._colour_out), file=self.stdout)

    @staticmethod
    def _paint(text: str, style: Style, wanted: bool) -> str:
        return f"\x1b[{CODES[style]}m{text}\x1b[0m" if style and wanted else text


def fit(widths: list[int], columns: int) -> list[int]:
    """Take from the widest column until the row fits or nothing more can be taken."""
    fitted = list(widths)
    while sum(fitted) + len(GAP) * (len(fitted) - 1) > columns and max(fitted) > NARROWEST_COLUMN:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted
