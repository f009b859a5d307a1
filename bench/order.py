"""Inputs given to one session faster than it can answer them: they are answered in order, one at a time."""

import argparse
import time
from collections.abc import Sequence
from typing import Any, Final

from bench import _load
from bench._figures import Aim, Report, Row
from bench._service import Bench
from bench._workload import Options, Workload

ALLOWANCE: Final = 1.15
"""How much longer than its model calls a chain of runs may take."""
_KINDS: Final = ("run.started", *_load.ENDS)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--inputs", type=int, default=20, metavar="N", help="(20)")
    parser.add_argument("--model-ms", type=float, default=200.0, metavar="MS", help="the model takes (200)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="each on a new session (3)")


def measure(bench: Bench, options: Options) -> Report:
    """Fill one session's queue and wait until it is empty."""
    report = Report()
    inputs, events = _load.Inputs(bench), _load.Events(bench)
    route = bench.route(ms=options.model_ms)
    bench.warm(route)
    for session in bench.sessions(options.rounds):
        bench.model.most_waiting()
        began = time.monotonic()
        run_ids = [inputs.submit(session, route, f"input {number}") for number in range(options.inputs)]
        accepted = time.monotonic() - began
        for run_id in run_ids:
            events.ended(run_id)
        report.rows.append(
            {
                "seconds": round(time.monotonic() - began, 3),
                "accepted_seconds": round(accepted, 3),
                "inputs": options.inputs,
                "at_once": bench.model.most_waiting(),
                **_judged(list(bench.client.sessions(session).events()), run_ids),
            }
        )
    _judge(report, options)
    return report


def _judged(entries: list[dict[str, Any]], run_ids: list[str]) -> Row:
    """Return what the journal says: how many runs completed, in which order, and one at a time or not."""
    course = [(entry["run_id"], entry["kind"]) for entry in entries if entry["kind"] in _KINDS]
    expected = [(run_id, kind) for run_id in run_ids for kind in ("run.started", "run.completed")]
    done = [run_id for run_id, kind in course if kind == "run.completed"]
    return {"completed": len(done), "in_order": done == run_ids, "one_at_a_time": course == expected}


def _judge(report: Report, options: Options) -> None:
    floor = options.inputs * options.model_ms / 1000
    taken = sorted(row["seconds"] for row in report.rows)
    report.add(f"{options.inputs} inputs on one session", taken[len(taken) // 2], "s", Aim(ALLOWANCE * floor))
    report.add("the model alone", floor, "s")
    for row in report.rows:
        if not (row["in_order"] and row["one_at_a_time"] and row["at_once"] == 1):
            report.problems.append(f"out of order or at the same time: {row}")


WORKLOAD: Final = Workload(name="order", about=__doc__, measure=measure, options=_add_options)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
