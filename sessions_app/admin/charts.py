"""Pictures made on the server, as SVG whose presentation attributes pass a strict content policy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH: Final = 1000
IDLE: Final = frozenset({"queued", "waited"})
IDLE_SHARE: Final = 1.5
"""Waiting is drawn at most so many times as long as work."""


def bars(values: Sequence[tuple[int, int]]) -> SafeString:
    """Return small bars of (all, failed), the newest at the right."""
    most = max((number for number, _ in values), default=0) or 1
    step = 240 / max(len(values), 1)
    drawn = []
    for place, (number, failed) in enumerate(values):
        if number:
            height, bad = max(36 * number / most, 2), 36 * failed / most
            x = f"{place * step:.1f}"
            drawn.append(("kh-bar-all", x, f"{40 - height:.1f}", f"{step - 2:.1f}", f"{height:.1f}"))
            if failed:
                drawn.append(("kh-bar-bad", x, f"{40 - bad:.1f}", f"{step - 2:.1f}", f"{bad:.1f}"))
    inside = format_html_join("", '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="1"/>', drawn)
    words = f"{sum(number for number, _ in values)} runs, {sum(bad for _, bad in values)} of them failed"
    return format_html(
        '<svg class="kh-bars" viewBox="0 0 240 40" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="kh-bar-line" d="M0 40H240"/>{}</svg>',
        words,
        inside,
    )


@dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of a run's time, in seconds from its beginning. ``lane`` 0 is the run itself."""

    kind: str
    begin: float
    end: float
    words: str
    lane: int = 0


def spans(pieces: Sequence[Span], *, lanes: int) -> SafeString:
    """Return the pieces below each other by lane; a piece too short to see still gets a hair's breadth."""
    place = _squeezed(pieces)
    whole = place(max((piece.end for piece in pieces), default=0)) or 1
    rows = [
        (
            piece.kind,
            f"{WIDTH * place(piece.begin) / whole:.1f}",
            piece.lane * 16 + 2,
            f"{max(WIDTH * (place(piece.end) - place(piece.begin)) / whole, 2.5):.1f}",
            piece.words,
        )
        for piece in pieces
    ]
    inside = format_html_join(
        "",
        '<rect class="kh-span-{}" x="{}" y="{}" width="{}" height="12" rx="2"><title>{}</title></rect>',
        rows,
    )
    return format_html(
        '<svg class="kh-spans" viewBox="0 0 {} {}" preserveAspectRatio="none" height="{}" aria-hidden="true">'
        "{}</svg>",
        WIDTH,
        lanes * 16,
        lanes * 16,
        inside,
    )


def is_squeezed(pieces: Sequence[Span]) -> bool:
    """Tell whether waiting is drawn shorter than it was, so that work stays to be seen."""
    idle, busy = _sums(pieces)
    return idle > IDLE_SHARE * busy


def _sums(pieces: Sequence[Span]) -> tuple[float, float]:
    idle = sum(piece.end - piece.begin for piece in pieces if piece.lane == 0 and piece.kind in IDLE)
    busy = sum(piece.end - piece.begin for piece in pieces if piece.lane == 0 and piece.kind not in IDLE)
    return idle, busy


def _squeezed(pieces: Sequence[Span]) -> Callable[[float], float]:
    """Return where a second is drawn: an hour of waiting must not hide a second of work."""
    idle, busy = _sums(pieces)
    factor = IDLE_SHARE * busy / idle if busy and idle > IDLE_SHARE * busy else 1.0
    waits = sorted((piece.begin, piece.end) for piece in pieces if piece.lane == 0 and piece.kind in IDLE)

    def place(second: float) -> float:
        saved = sum(max(min(second, end) - begin, 0) for begin, end in waits)
        return second - saved * (1 - factor)

    return place
