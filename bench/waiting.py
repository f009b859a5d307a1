"""Many runs whose model takes its time, in one worker process: how many wait at once, and what that holds.

First all wait for one slow answer; then some sessions work one run after the other with a slow model.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Final

from bench import _load, _service
from bench import _processes as processes
from bench._figures import Aim, Report, spread
from bench._service import Bench
from bench._workload import Options, Workload

SPARE_THREADS: Final = 20


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="that wait at once (200)")
    parser.add_argument("--wait-ms", type=float, default=15_000.0, metavar="MS", help="for so long (15000)")
    parser.add_argument("--sessions", type=int, default=32, metavar="N", help="of the second part (32)")
    parser.add_argument("--model-ms", type=float, default=1000.0, metavar="MS", help="their model (1000)")
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="for so long (15)")


def _settings(options: Options) -> dict[str, str]:
    return {"KHEISH_WORKER_THREADS": str(options.runs + SPARE_THREADS)}


def measure(bench: Bench, options: Options) -> Report:
    """Let many wait, then let some work."""
    report = Report()
    inputs, events = _load.Inputs(bench), _load.Events(bench)
    _all_wait(bench, options, report, inputs, events)
    names, route = bench.sessions(options.sessions), bench.route(ms=options.model_ms)

    def one(session: int) -> float:
        sent = time.monotonic()
        events.ended(inputs.submit(names[session], route))
        return time.monotonic() - sent

    _load.closed_loop(one, options.sessions, 0.0)  # one run each: connections and code are warm
    bench.model.most_waiting()
    taken = _load.closed_loop(one, options.sessions, options.seconds)
    most = options.sessions / options.model_ms * 1000
    aim = Aim(30 / 32 * most, least=True)
    report.rows.append(
        {
            "part": "working",
            "runs": len(taken.found),
            "runs_per_second": round(taken.pace, 1),
            "at_once": bench.model.most_waiting(),
            **spread("completed", taken.found),
        }
    )
    report.add(f"runs, {options.sessions} sessions, model {options.model_ms:g} ms", taken.pace, "/s", aim)
    return report


def _all_wait(
    bench: Bench, options: Options, report: Report, inputs: _load.Inputs, events: _load.Events
) -> None:
    """Give each of many sessions a run at once, and look at the worker while all wait."""
    bench.warm(bench.route())
    names, route = bench.sessions(options.runs), bench.route(ms=options.wait_ms)
    (worker,) = bench.pids("worker")
    before, bench_began = processes.memory_bytes(worker), time.monotonic()
    bench.model.most_waiting()
    given = _load.all_at_once(lambda name: inputs.submit(name, route), names, threads=32)
    wanted, most = options.runs, 0
    while most < wanted and time.monotonic() - bench_began < options.wait_ms / 1000 - 0.2:
        time.sleep(0.2)
        most = max(most, bench.model.most_waiting())
    reached, held = time.monotonic() - bench_began, processes.memory_bytes(worker) - before
    connections, busy = _service.connections(bench)
    ends = [events.ended(run_id) for run_id in given.found]
    report.rows.append(
        {
            "part": "waiting",
            "runs": wanted,
            "at_once": max(most, bench.model.most_waiting()),
            "after_seconds": round(reached, 2),
            "worker_kib_per_run": round(held / 1024 / wanted, 1),
            "database_connections": connections,
            "busy_connections": busy,
            "seconds": round(time.monotonic() - bench_began, 2),
        }
    )
    row = report.rows[-1]
    report.add("runs that waited at once in one worker", row["at_once"], "", Aim(wanted, least=True))
    report.add("worker memory of a run that waits", row["worker_kib_per_run"], "KiB")
    report.add("busy database connections while all wait", busy)
    report.problems += [f"a run ended as {kind}" for kind in ends if kind != "run.completed"]


WORKLOAD: Final = Workload(
    name="waiting", about=__doc__, measure=measure, options=_add_options, settings=_settings
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
