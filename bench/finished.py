"""What a great number of finished runs costs those that come after them: runs, sweeps, and doing nothing.

The same is measured twice on one database, before and after the finished runs are put into it: runs one
after the other, each part of a worker's sweep, and what an idle service uses.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any, Final

from bench import _load, _rows, _sweeps
from bench._figures import Report, Row, spread
from bench._rows import ENTRIES, RUNS, SESSIONS
from bench._service import Bench, Counts, say
from bench._workload import Options, Workload

_RUNS_OF_A_SESSION: Final = 100
_FOLLOWED: Final = "run.completed"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--finished", type=int, default=1_000_000, metavar="N", help="runs (1000000)")
    parser.add_argument("--runs", type=int, default=60, metavar="N", help="to measure (60)")
    parser.add_argument("--sweeps", type=int, default=20, metavar="N", help="to measure (20)")
    parser.add_argument("--idle-seconds", type=float, default=10.0, metavar="S", help="(10)")


def measure(bench: Bench, options: Options) -> Report:
    """Measure, put the finished runs in, and measure again."""
    report = Report()
    inputs, events, route = _load.Inputs(bench), _load.Events(bench), bench.route()
    (session,) = bench.sessions(1)
    events.ended(inputs.submit(session, route))

    def look(words: str) -> None:
        say(f"measuring {words}")
        taken, counts = [], Counts(bench)
        for _ in range(options.runs):
            sent = time.monotonic()
            events.ended(inputs.submit(session, route))
            taken.append(time.monotonic() - sent)
        row: Row = {"database": words, **spread("completed", taken), **counts.per(options.runs)}
        row |= _idle(bench, options.idle_seconds)
        counts = Counts(bench)
        row |= _sweeps.times(bench, options.sweeps)
        pages = counts.per(options.sweeps + 1).get("pages")
        report.rows.append(row | ({"sweep_pages": pages} if pages is not None else {}))

    look("empty")
    began = time.monotonic()
    _fill(bench, session, options.finished)
    filled = time.monotonic() - began
    look(f"{options.finished} finished runs")
    return _judged(report, filled)


def _fill(bench: Bench, session: str, count: int) -> None:
    """Copy a finished run, with the entry of its end, into many sessions; half of them have ended."""
    with _rows.rows(bench) as database:
        pk = database.value(f"SELECT id FROM {SESSIONS} WHERE session_id = '{session}'")
        run = database.value(f"SELECT min(id) FROM {RUNS} WHERE session_id = {pk}")
        many = max(count // _RUNS_OF_A_SESSION, 1)
        each = -(-count // many)
        ended = "CASE WHEN n % 2 = 0 THEN t.updated_at END"
        heads = {"next_seq": f"{each + 1}", "next_position": f"{each + 1}"}
        names = {"session_id": "t.session_id || '-' || n", "ended_at": ended}
        database.copy(SESSIONS, f"t.id = {pk}", many, {**names, **heads})
        first = database.value(f"SELECT id FROM {SESSIONS} WHERE session_id = '{session}-1'") - 1
        place = {"session_id": f"{first} + 1 + (n - 1) % {many}"}
        order = f"1 + (n - 1) / {many}"
        database.copy(
            RUNS, f"t.id = {run}", count, {**place, "run_id": "t.run_id || '-' || n", "position": order}
        )
        begin = database.value(f"SELECT min(id) FROM {RUNS} WHERE session_id = {first + 1}") - 1
        own = {**place, "run_id": f"{begin} + n", "seq": order}
        database.copy(ENTRIES, f"t.run_id = {run} AND t.kind = '{_FOLLOWED}'", count, own)
        say("letting the database count them")
        database.settle()


def _idle(bench: Bench, seconds: float) -> dict[str, Any]:
    """Return what the service uses while nothing happens, in milliseconds of processor a second."""
    time.sleep(seconds / 3)  # let end what has only just begun to be over
    usage = bench.usage()
    time.sleep(seconds)
    used = usage.processor_seconds()
    each = {kind: round(1000 * used[kind] / seconds, 2) for kind in used}
    return {"idle_ms": round(sum(each.values()), 2), "idle_ms_of": each}


def _judged(report: Report, filled: float) -> Report:
    before, after = report.rows
    pages = [name for name in ("pages", "sweep_pages") if name in before]
    report.columns = ("database", "completed_p50_ms", *pages, "idle_ms", *_sweeps.PARTS)
    report.add("filling", filled, "s")
    for name, words in (("completed_p50_ms", "a run, p50"), ("idle_ms", "an idle second's processor")):
        report.add(f"{words}, empty", before[name], "ms")
        report.add(f"{words}, full", after[name], "ms")
    for name, words in zip(
        pages, ("database pages a run reads", "database pages a sweep reads"), strict=False
    ):
        report.add(f"{words}, empty", before[name])
        report.add(f"{words}, full", after[name])
    for part in _sweeps.PARTS:
        report.add(f"sweep: {part.replace('_', ' ')}, empty", before[part], "ms")
        report.add(f"sweep: {part.replace('_', ' ')}, full", after[part], "ms")
    return report


WORKLOAD: Final = Workload(name="finished", about=__doc__, measure=measure, options=_add_options)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
