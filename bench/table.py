"""The latest figures of every workload as one Markdown table, from ``bench/history.jsonl``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench._figures import Cells, figure_cells
from bench._history import FILE, recall

_HEAD: Final = ("workload", "figure", "measured", "aim", "", "measured at")


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="manage.py bench table", description=__doc__)
    parser.add_argument("--history", type=Path, default=FILE, metavar="FILE", help="bench/history.jsonl")
    print(as_table(recall(parser.parse_args(arguments).history)))
    return 0


def as_table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the newest line of each workload, variant and profile as rows of one table."""
    newest = {
        (line["workload"], line.get("variant", ""), line["profile"]): line
        for line in lines
        if line.get("figures")
    }
    rows: list[Cells] = [_HEAD, ["---"] * len(_HEAD)]
    rows += [row for key in sorted(newest) for row in _rows(newest[key])]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _rows(line: dict[str, Any]) -> list[Cells]:
    name = " ".join(filter(None, [line["workload"], line.get("variant", "")]))
    machine = line["machine"]
    where = f"{line['at'][:10]}, {line['commit']}, {machine['arch']}, {machine['processors']} processors"
    if "loop_ms" in machine:  # not in lines from before it was looked at
        where += f", Python {machine['python']}, loop {machine['loop_ms']} and {machine['loops_ms']} ms"
    found: list[Cells] = []
    for figure in line["figures"]:
        what, value, unit, aim, verdict = figure_cells(figure)
        unit = "" if unit == "ratio" else unit
        found.append([f"`{name}`, {line['profile']}", what, f"{value} {unit}".strip(), aim, verdict, where])
    return found
