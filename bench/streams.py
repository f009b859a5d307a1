"""Many readers of streams: what an idle one holds, and how soon the busy ones hear of a commit.

Idle readers follow sessions in which nothing happens; busy ones follow sessions that get inputs at an even
pace. The time counts from an entry's ``at``, which is shortly before its commit, to its arrival at a reader.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bench import _load, _readers, _rows
from bench import _processes as processes
from bench._figures import Aim, Report, Row, spread
from bench._readers import Readers
from bench._service import Bench, say
from bench._workload import Options, Workload
from kheish_site.cli.client import path

IDLE_AIM_KB: Final = 100
LATE_AIM_MS: Final = 30
_SETTLE_SECONDS: Final = 0.3
_PATIENCE_SECONDS: Final = 15.0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--idle", type=int, default=2000, metavar="N", help="idle readers (2000)")
    parser.add_argument("--busy", type=int, default=200, metavar="N", help="busy readers (200)")
    parser.add_argument("--busy-sessions", type=int, default=4, metavar="N", help="that they follow (4)")
    parser.add_argument("--rate", type=float, default=4.0, metavar="N", help="inputs a second (4)")
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="for so long (15)")


def _settings(options: Options) -> dict[str, str]:
    _readers.allow(options.idle + options.busy)
    return {"KHEISH_STREAM_MAX_SECONDS": "3600", "KHEISH_STREAM_MAX_BYTES": str(2**30)}


def measure(bench: Bench, options: Options) -> Report:
    """Open the idle readers, weigh them, and let the busy ones hear something."""
    busy, idle = bench.sessions(options.busy_sessions), _rows.sessions(bench, options.idle)
    (web,) = bench.pids("web")
    bench.warm(bench.route())
    with _readers.reading(bench) as readers:
        readers.open([_stream(session) for session in busy], timed=False)  # the hub and its threads are up
        before, began = processes.memory_bytes(web), time.monotonic()
        say(f"opening {options.idle} idle and {options.busy} busy readers")
        readers.open([_stream(session) for session in idle], timed=False)
        opening = time.monotonic() - began
        held = processes.memory_bytes(web) - before
        readers.open([_stream(busy[number % len(busy)]) for number in range(options.busy)], timed=True)
        row = _heard(bench, options, readers, busy)
    row |= {
        "opened_per_second": round(options.idle / opening, 1),
        "idle_kb": round(held / 1000 / max(options.idle, 1), 2),
    }
    return _judged(Report(rows=[row]), options)


def _heard(bench: Bench, options: Options, readers: Readers, busy: Sequence[str]) -> Row:
    """Give the busy sessions inputs at an even pace, and ask the readers how late they heard of it."""
    inputs, events, route = _load.Inputs(bench), _load.Events(bench), bench.route()
    first = [inputs.submit(session, route) for session in busy]
    for run_id in first:
        events.ended(run_id)
    _hear(readers, _owed(bench, first, options))
    usage = bench.usage()
    taken = _load.open_loop(
        lambda number: inputs.submit(busy[number % len(busy)], route),
        rate=options.rate,
        seconds=options.seconds,
    )
    runs = [run_id for _, run_id in taken.found]
    for run_id in runs:
        events.ended(run_id)
    used, expected = usage.processor_seconds(), _owed(bench, runs, options)
    late, alive = _hear(readers, expected)
    return {
        "idle": options.idle,
        "busy": options.busy,
        "alive": alive,
        "runs": len(runs),
        "heard": len(late),
        "expected": expected,
        **spread("late", [each / 1000 for each in late]),
        "web_seconds": round(used["web"], 2),
        "seconds": round(taken.seconds, 2),
    }


def _owed(bench: Bench, runs: Sequence[str], options: Options) -> int:
    """Return how much the busy readers hear of ended runs that were given to the busy sessions in turn."""
    readers = Counter(number % options.busy_sessions for number in range(options.busy))
    owed = 0
    for number, run_id in enumerate(runs):
        owed += len(list(bench.client.runs(run_id).events())) * readers[number % options.busy_sessions]
    return owed


def _hear(readers: Readers, expected: int) -> tuple[list[float], int]:
    """Return what was heard, once it is all there, and what came too much, and how many readers live."""
    late, deadline = list[float](), time.monotonic() + _PATIENCE_SECONDS
    while True:
        time.sleep(_SETTLE_SECONDS)
        more, alive = readers.heard()
        late += more
        if len(late) >= expected or time.monotonic() > deadline:
            return late, alive


def _stream(session: str) -> str:
    return path("sessions", session, "stream")


def _judged(report: Report, options: Options) -> Report:
    row = report.rows[0]
    report.add(f"web memory of an idle stream, of {options.idle}", row["idle_kb"], "kB", Aim(IDLE_AIM_KB))
    words = f"commit to {options.busy} busy readers"
    report.add(f"{words} p50", row["late_p50_ms"], "ms", Aim(LATE_AIM_MS))
    report.add(f"{words} p95", row["late_p95_ms"], "ms")
    report.add(f"{words} p99", row["late_p99_ms"], "ms")
    if row["heard"] != row["expected"] or row["alive"] != options.idle + options.busy + options.busy_sessions:
        report.problems.append(f"streams ended, or missed something: {row}")
    return report


WORKLOAD: Final = Workload(
    name="streams", about=__doc__, measure=measure, options=_add_options, settings=_settings
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
