"""A picture of ``bench/history.jsonl``: runs beside bare Celery, and processor time of a run, by commit.

It shows the plain workload ``runs`` of the services profile: one model call that takes no time.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import _svg
from bench._history import FILE, recall
from bench._processes import ROOT
from bench._service import median_of
from bench._svg import Line, Panel

PICTURE: Final = ROOT / "docs" / "reports" / "benchmark.svg"


@dataclass(frozen=True)
class _Measured:
    """All measurements of one commit in a row."""

    commit: str
    rows: list[Mapping[str, Any]]

    def pace(self, sessions: int) -> float | None:
        """Return runs a second beside bare Celery's, None when one was not measured."""
        ours, bare = (self._of("runs_per_second", system, sessions) for system in ("kheish", "celery"))
        return ours / bare if ours and bare else None

    def processor(self, sessions: int) -> float | None:
        """Return the processor milliseconds of a run."""
        return self._of("processor_ms_per_run", "kheish", sessions) or None

    def _of(self, name: str, system: str, sessions: int) -> float:
        return median_of(self.rows, name, system=system, sessions=sessions)


def main(arguments: Sequence[str]) -> int:
    """Write the picture. 1 when there is nothing to show."""
    parser = argparse.ArgumentParser(prog="manage.py bench plot", description=__doc__)
    parser.add_argument("--history", type=Path, default=FILE, metavar="FILE", help="bench/history.jsonl")
    parser.add_argument("--into", type=Path, default=PICTURE, metavar="FILE", help=f"{PICTURE.name}")
    options = parser.parse_args(arguments)
    measured = measured_in(recall(options.history))
    if not measured:
        print("nothing was measured yet: manage.py bench runs", file=sys.stderr)
        return 1
    options.into.parent.mkdir(parents=True, exist_ok=True)
    options.into.write_text(as_picture(measured))
    print(options.into)
    return 0


def as_picture(measured: Sequence[_Measured]) -> str:
    """Return the picture."""
    sessions = sorted({row["sessions"] for each in measured for row in each.rows})
    panels = [
        Panel(
            "Runs a second, as a share of bare Celery's (more is better)",
            [Line(_words(count), [each.pace(count) for each in measured]) for count in sessions],
        ),
        Panel(
            "Processor time of a run, ms: web, worker, PostgreSQL, Redis (less is better)",
            [Line(_words(count), [each.processor(count) for each in measured]) for count in sessions],
        ),
    ]
    return _svg.drawn("Kheish by commit", panels, [each.commit for each in measured])


def measured_in(lines: Iterable[Mapping[str, Any]]) -> list[_Measured]:
    """Return the measurements of the plain workload, those of one commit in a row put together."""
    found: list[_Measured] = []
    for line in lines:
        rows = [row for row in line.get("rows", ()) if not row.get("tool") and not row.get("model_ms")]
        rows = [row for row in rows if row.get("workers", 1) == 1]
        if line["workload"] != "runs" or line["profile"] != "services" or not rows:
            continue
        if not found or found[-1].commit != line["commit"]:
            found.append(_Measured(line["commit"], []))
        found[-1].rows.extend(rows)
    return found


def _words(sessions: int) -> str:
    return f"{sessions} session{'s' * (sessions > 1)}"
