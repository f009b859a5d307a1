"""Lines over commits as SVG, written by hand: the console's colours, in light and dark, and no script."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from bench._figures import shown

_WIDTH, _LEFT, _RIGHT, _TOP, _HEIGHT, _GAP, _FOOT = 880, 64, 120, 64, 200, 64, 76
_MOST_LABELS: Final = 24
_LABEL_GAP: Final = 14.0
_COLOURS: Final = ("busy", "good", "wait", "bad", "calm")
LIGHT: Final = {
    "surface": "#ffffff", "line": "#dde3ea", "ink": "#17202b", "soft": "#55616f", "busy": "#1d4ed8",
    "good": "#14713f", "wait": "#8a4b00", "bad": "#b3201b", "calm": "#4b5765",
}  # fmt: skip
DARK: Final = {
    "surface": "#171e28", "line": "#2b3644", "ink": "#e6ebf2", "soft": "#9dabbc", "busy": "#93bbff",
    "good": "#6ed79b", "wait": "#ffc266", "bad": "#ff9d96", "calm": "#b3c0cf",
}  # fmt: skip
"""The console's colours of the same names (``console.css``), which a picture in a document cannot reach."""


@dataclass(frozen=True)
class Line:
    """One value a place, None where there is none."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Panel:
    """Lines over the same places."""

    title: str
    lines: Sequence[Line]


def drawn(title: str, panels: Sequence[Panel], places: Sequence[str]) -> str:
    """Return the panels under each other, ``places`` named below the last."""
    height = _TOP + len(panels) * (_HEIGHT + _GAP) - _GAP + _FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape('; '.join(panel.title for panel in panels))}</desc>",
        f"<style>{_style()}</style>",
        f'<rect class="surface" width="{_WIDTH}" height="{height}" rx="8"/>',
        f'<text class="ink strong" x="16" y="26">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, len(places), top=_TOP + number * (_HEIGHT + _GAP), places=places)
    parts += _names(places, y=height - _FOOT + 14)
    return "\n".join([*parts, "</svg>", ""])


def _style() -> str:
    def rules(colours: dict[str, str]) -> str:
        own = "".join(
            f".{name}{{stroke:{colours[name]}}}.{name}.fill{{fill:{colours[name]};stroke:none}}"
            for name in _COLOURS
        )
        return (
            f".surface{{fill:{colours['surface']}}}.grid{{stroke:{colours['line']}}}"
            f".ink{{fill:{colours['ink']}}}.soft{{fill:{colours['soft']}}}{own}"
        )

    font = "text{font:12px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;stroke:none}"
    shapes = ".strong{font-weight:600;font-size:14px}polyline{fill:none;stroke-width:2}"
    return f"{font}{shapes}{rules(LIGHT)}@media (prefers-color-scheme:dark){{{rules(DARK)}}}"


def _x(place: int, count: int) -> float:
    """Return where a place is; a single one is in the middle."""
    wide = _WIDTH - _LEFT - _RIGHT
    return round(_LEFT + (wide / 2 if count == 1 else wide * place / (count - 1)), 1)


def _panel(panel: Panel, count: int, *, top: int, places: Sequence[str]) -> Iterator[str]:
    most = max((value for line in panel.lines for value in line.values if value is not None), default=1.0)
    step = _step(most)
    ceiling = step * max(1, math.ceil(most / step))

    def y(value: float) -> float:
        return round(top + _HEIGHT * (1 - value / ceiling), 1)

    yield f'<text class="ink" x="{_LEFT}" y="{top - 12}">{escape(panel.title)}</text>'
    for mark in range(round(ceiling / step) + 1):
        at = y(mark * step)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
        yield f'<text class="soft" x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{mark * step:g}</text>'
    for number, line in enumerate(panel.lines):
        dots = [
            (_x(place, count), y(value), f"{places[place]}, {line.name}: {shown(float(value))}")
            for place, value in enumerate(line.values)
            if value is not None
        ]
        yield from _line(dots, _COLOURS[number % len(_COLOURS)])
    yield from _legend(panel, y)


def _line(dots: Sequence[tuple[float, float, str]], colour: str) -> Iterator[str]:
    points = " ".join(f"{x},{y}" for x, y, _ in dots)
    yield f'<polyline class="{colour}" points="{points}"/>'
    for x, y, words in dots:
        title = f"<title>{escape(words)}</title>"
        yield f'<circle class="{colour} fill" cx="{x}" cy="{y}" r="3.5">{title}</circle>'


def _legend(panel: Panel, y: Callable[[float], float]) -> Iterator[str]:
    """Name each line at the height of its last value, none on top of another."""
    ends = []
    for number, line in enumerate(panel.lines):
        last = next((value for value in reversed(line.values) if value is not None), None)
        if last is not None:
            ends.append((y(last), number, line.name))
    below = -math.inf
    for at, number, name in sorted(ends):
        below = max(at + 4, below + _LABEL_GAP)
        colour = _COLOURS[number % len(_COLOURS)]
        yield f'<text class="{colour} fill" x="{_WIDTH - _RIGHT + 12}" y="{below}">{escape(name)}</text>'


def _names(places: Sequence[str], *, y: int) -> Iterator[str]:
    every = -(-len(places) // _MOST_LABELS)
    for place in range(len(places) - 1, -1, -every):
        x = _x(place, len(places))
        yield (
            f'<text class="soft" x="{x}" y="{y}" text-anchor="end" transform="rotate(-40 {x} {y})">'
            f"{escape(places[place])}</text>"
        )


def _step(most: float) -> float:
    """Return a round step that divides a scale up to ``most`` in a few parts."""
    rough = max(most, 1e-9) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
