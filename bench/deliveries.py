"""Answers on their way to many HTTP targets: how many a second, and how long after the end of their run.

Each session answers to some targets of its own. The time counts from the ``at`` of ``run.completed`` to the
arrival at the target, which notes it before it answers.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bench import _load, _target
from bench._figures import Report, Row, spread
from bench._service import Bench, Counts, say
from bench._workload import Options, Workload

SETTLE_SECONDS: Final = 120.0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, default=20, metavar="N", help="(20)")
    parser.add_argument("--targets", type=int, default=10, metavar="N", help="of each session (10)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of each session (10)")


def measure(bench: Bench, options: Options) -> Report:
    """Let all sessions run, and wait for what they say to arrive."""
    inputs, events, route = _load.Inputs(bench), _load.Events(bench), bench.route()
    bench.warm(route)
    with _target.listening() as target:
        sessions = _sessions(bench, target, options)
        expected = options.sessions * options.targets * options.runs
        say(f"{expected} messages for {options.sessions * options.targets} targets")
        usage, counts, began = bench.usage(), Counts(bench), time.time()

        def one(session: str) -> None:
            for run_id in [inputs.submit(session, route) for _ in range(options.runs)]:
                events.ended(run_id)

        _load.all_at_once(one, sessions, threads=len(sessions))
        ran = time.time() - began
        arrivals = target.arrivals(expected, SETTLE_SECONDS)
        used, per = usage.processor_seconds(), counts.per(expected)
    late = [when - events.came(run_id, "run.completed")[1] for when, run_id in arrivals]
    taken = max((when for when, _ in arrivals), default=began) - began
    row: Row = {
        "targets": options.sessions * options.targets,
        "messages": expected,
        "arrived": len(arrivals),
        "seconds": round(taken, 2),
        "runs_seconds": round(ran, 2),
        "messages_per_second": round(len(arrivals) / taken, 1) if taken else 0.0,
        **spread("delivered", late),
        "processor_ms_per_message": round(1000 * sum(used.values()) / max(expected, 1), 2),
        **per,
    }
    return _judged(row, Counter(run_id for _, run_id in arrivals), options)


def _sessions(bench: Bench, target: _target.Target, options: Options) -> list[str]:
    """Make sessions that answer to some targets each."""
    made = []
    for number in range(options.sessions):
        handles = [target.handle(f"{number}-{each}") for each in range(options.targets)]
        made += bench.sessions(1, reply_targets=handles)
    return made


def _judged(row: Row, came: Counter[str], options: Options) -> Report:
    report = Report(rows=[row])
    report.add(f"messages to {row['targets']} targets", row["messages_per_second"], "/s")
    report.add("end of the run to delivered p50", row["delivered_p50_ms"], "ms")
    report.add("end of the run to delivered p99", row["delivered_p99_ms"], "ms")
    wrong = {run_id: count for run_id, count in came.items() if count != options.targets}
    if wrong or row["arrived"] != row["messages"]:
        report.problems.append(f"{row['arrived']} of {row['messages']} arrived; not once each: {wrong}")
    return report


WORKLOAD: Final = Workload(
    name="deliveries", about=__doc__, measure=measure, options=_add_options, profiles=("services", "embedded")
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
