"""What a measurement says: figures with their aims, the rows behind them, and how both look as text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Row = dict[str, Any]
Cells = Sequence[str]
_SIGNIFICANT: Final = 3


@dataclass(frozen=True)
class Aim:
    """What a figure should be: at most or at least ``value``."""

    value: float
    least: bool = False

    def is_met(self, value: float) -> bool:
        """Tell whether ``value`` is good enough."""
        return value >= self.value if self.least else value <= self.value

    def __str__(self) -> str:
        return f"{'>=' if self.least else '<='} {shown(self.value)}"


@dataclass(frozen=True)
class Figure:
    """One result in one number. ``unit`` is "" for counts and ratios."""

    name: str
    value: float
    unit: str = ""
    aim: Aim | None = None

    def as_json(self) -> Row:
        """Return it with what became of its aim."""
        found: Row = {"name": self.name, "value": round(self.value, 4), "unit": self.unit}
        if self.aim is not None:
            found |= {"aim": str(self.aim), "met": self.aim.is_met(self.value)}
        return found


@dataclass
class Report:
    """What one workload found. ``problems`` are what must not happen at any speed."""

    figures: list[Figure] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    columns: Sequence[str] = ()
    """The columns of ``rows`` that people are shown; all when empty."""

    def add(self, name: str, value: float, unit: str = "", aim: Aim | None = None) -> None:
        """Add one figure."""
        self.figures.append(Figure(name, value, unit, aim))

    def as_json(self) -> Row:
        """Return everything as plain values."""
        figures = [figure.as_json() for figure in self.figures]
        return {"figures": figures, "rows": self.rows, "problems": self.problems}

    def as_text(self) -> str:
        """Return it as people read it."""
        parts = []
        if self.rows:
            columns = list(self.columns or dict.fromkeys(name for row in self.rows for name in row))
            cells = [[shown(row.get(name)) for name in columns] for row in self.rows]
            parts.append(columns_of([[name.replace("_", " ") for name in columns], *cells]))
        head = ["figure", "measured", "unit", "aim", ""]
        parts.append(columns_of([head, *(figure_cells(figure.as_json()) for figure in self.figures)]))
        return "\n\n".join([*parts, *(f"problem: {problem}" for problem in self.problems)])


def figure_cells(figure: Row) -> Cells:
    """Return the cells of one figure, as tables show it."""
    verdict = {True: "met", False: "not met", None: ""}[figure.get("met")]
    return [figure["name"], shown(figure["value"]), figure["unit"], figure.get("aim", ""), verdict]


def columns_of(lines: Sequence[Cells]) -> str:
    """Return lines of cells under each other, numbers to the right."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place and _is_number(cell) else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def shown(value: object) -> str:
    """Return a value short enough for a table: three digits that count."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if not isinstance(value, float) or value == int(value):
        return f"{value:.0f}" if isinstance(value, float) else str(value)
    places = max(0, _SIGNIFICANT - len(str(int(abs(value)))))
    return f"{value:.{places}f}"


def at(values: Iterable[float], share: float) -> float:
    """Return the value that ``share`` of the others do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def spread(name: str, seconds: Sequence[float], shares: Sequence[float] = (0.5, 0.95, 0.99)) -> Row:
    """Return quantiles in milliseconds as columns of a row: ``name_p50_ms`` and so on."""
    return {f"{name}_p{100 * share:.0f}_ms": round(1000 * at(seconds, share), 2) for share in shares}


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).lstrip("-").isdigit()
