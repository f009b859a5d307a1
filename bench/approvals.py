"""From a person's yes to the start of the call it allows.

Many runs wait for an approval each; some people decide one after the other, each when the call that they
allowed last has begun. The time counts from sending the decision to the journal's ``tool.started``, which is
committed before the command leaves.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench import _load
from bench._figures import Aim, Report, spread
from bench._service import Bench, say
from bench._workload import Options, Workload
from kheish_site.cli.client import path

AIM_MS: Final = 250
_KINDS: Final = ("approval.requested", "tool.started", *_load.ENDS)
_SETUP_THREADS: Final = 8


@dataclass(frozen=True)
class _Decided:
    """One approval: seconds until the answer, until the call began, and until the run had completed."""

    answered: float
    started: float
    completed: float


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--approvals", type=int, default=100, metavar="N", help="for each (100)")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 8], metavar="N", help="(1 8)")


def measure(bench: Bench, options: Options) -> Report:
    """Let runs wait for approvals, then allow them, by each number of people."""
    report = Report()
    inputs, events = _load.Inputs(bench), _load.Events(bench, _KINDS)
    route = bench.route(tool="bash")
    _decide(inputs, events, *_asked(bench, inputs, events, route, count=1)[0])  # the first of the service
    for people in options.people:
        say(f"{people} of the people, {options.approvals} approvals")
        asked = _asked(bench, inputs, events, route, count=options.approvals)
        taken = _load.all_at_once(lambda each: _decide(inputs, events, *each), asked, threads=people)
        report.rows.append(
            {
                "people": people,
                "approvals": len(taken.found),
                "approvals_per_second": round(len(taken.found) / taken.seconds, 1),
                **spread("answered", [each.answered for each in taken.found]),
                **spread("started", [each.started for each in taken.found]),
                **spread("completed", [each.completed for each in taken.found]),
            }
        )
        row, words = report.rows[-1], "one person" if people == 1 else f"{people} people at once"
        report.add(f"decided to started p50, {words}", row["started_p50_ms"], "ms")
        report.add(f"decided to started p99, {words}", row["started_p99_ms"], "ms", Aim(AIM_MS))
    return report


def _asked(
    bench: Bench, inputs: _load.Inputs, events: _load.Events, route: str, *, count: int
) -> list[tuple[str, str]]:
    """Start runs that wait for an approval each; returns the ids of run and approval."""

    def ask(session: str) -> tuple[str, str]:
        run_id = inputs.submit(session, route)
        events.came(run_id, "approval.requested")
        (approval,) = bench.client.page(path("approvals"), query={"run_id": run_id})["items"]
        return run_id, approval["approval_id"]

    return list(_load.all_at_once(ask, bench.sessions(count), _SETUP_THREADS).found)


def _decide(inputs: _load.Inputs, events: _load.Events, run_id: str, approval_id: str) -> _Decided:
    sent = time.time()
    inputs.post(path("approvals", approval_id, "resolve"), {"behavior": "allow"})
    answered = time.time() - sent
    _, started = events.came(run_id, "tool.started")
    _, completed = events.came(run_id, "run.completed")
    return _Decided(answered, started - sent, completed - sent)


WORKLOAD: Final = Workload(
    name="approvals", about=__doc__, measure=measure, options=_add_options, profiles=("services", "embedded")
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
