"""Runs with one model call, over some sessions at once, beside bare Celery making the same calls.

Closed loop: each session sends its next input when the last one is answered. A run counts as completed when
its event arrives on the service's own stream. Bare Celery (prefork, the same broker, the same model server)
is measured in the same round; what matters is the ratio, which a busy machine changes less than the figures.
Processor time counts everything but the load and the model: web, workers, PostgreSQL and Redis.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from bench import _bare, _load, _model
from bench import _processes as processes
from bench._figures import Aim, Report, Row, spread
from bench._service import Bench, Counts, median_of, say
from bench._workload import Options, Workload

WARM_SECONDS: Final = 2.0
RUNS_OF_A_SESSION: Final = 20
"""Then a new one takes its place: a model reads the whole talk, and bare Celery's only one message."""
BESIDE_CELERY: Final = {8: 0.85, 32: 1.0}
PROCESSOR_MS: Final = 7.0
COMMITS: Final = 5
"""Most commits of a run with one model call; ``COMMITS_OF_A_CALL`` more with a tool call."""
COMMITS_OF_A_CALL: Final = 3
_COLUMNS: Final = (
    "system", "sessions", "runs_per_second", "accepted_p50_ms", "accepted_p99_ms", "completed_p50_ms",
    "completed_p95_ms", "completed_p99_ms", "waiting_at_once", "commits", "statements",
    "processor_ms_per_run", "memory_mib",
)  # fmt: skip


@dataclass(frozen=True)
class _System:
    name: str
    trees: Sequence[int]
    work: Callable[[int], tuple[float, float]]
    """Does one run in the session of that number; the seconds until it was accepted and completed."""
    count: Callable[[], Counts | None]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 8, 32, 128], metavar="N")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="for each (8)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="(1)")
    parser.add_argument("--model-ms", type=float, default=0.0, metavar="MS", help="the model takes (0)")
    parser.add_argument("--tool", action="store_true", help="the model asks for one cheap tool first")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes (1)")
    parser.add_argument("--web", type=int, default=1, metavar="N", help="web processes (1)")
    parser.add_argument("--alone", action="store_true", help="without bare Celery")


def _settings(options: Options) -> dict[str, str]:
    return {"KHEISH_WORKER_PROCESSES": str(options.workers), "KHEISH_WEB_PROCESSES": str(options.web)}


def _variant(options: Options) -> str:
    words = ["--tool"] * options.tool + [f"--model-ms {options.model_ms:g}"] * (options.model_ms > 0)
    words += [f"--workers {options.workers}"] * (options.workers > 1)
    return " ".join(words + [f"--web {options.web}"] * (options.web > 1))


def measure(bench: Bench, options: Options) -> Report:
    """Measure each number of sessions in each round, both systems one after the other."""
    rows: list[Row] = []
    tool = "list_files" if options.tool else ""
    kheish = _kheish(bench, max(options.sessions), bench.route(ms=options.model_ms, tool=tool))
    with _bare_celery(bench, options, _model.name(ms=options.model_ms, tool=tool)) as celery:
        for _ in range(options.rounds):
            for sessions in options.sessions:
                for system in filter(None, (celery, kheish)):
                    rows.append(_row(bench, system, sessions, options))
                    say(f"{system.name:7} {sessions:4} sessions  {rows[-1]['runs_per_second']:7.1f} runs/s")
    return _report(rows, options)


def _kheish(bench: Bench, sessions: int, route: str) -> _System:
    inputs, events = _load.Inputs(bench), _load.Events(bench)
    names = bench.sessions(sessions)
    left = [RUNS_OF_A_SESSION] * sessions

    def one(session: int) -> tuple[float, float]:
        if left[session] == 0:
            names[session] = inputs.session()
            left[session] = RUNS_OF_A_SESSION
        left[session] -= 1
        sent = time.monotonic()
        run_id = inputs.submit(names[session], route)
        accepted = time.monotonic()
        if (kind := events.ended(run_id)) != "run.completed":
            raise RuntimeError(f"{run_id}: {kind}")
        return accepted - sent, time.monotonic() - sent

    return _System("kheish", bench.trees, one, lambda: Counts(bench))


@contextmanager
def _bare_celery(bench: Bench, options: Options, model: str) -> Iterator[_System | None]:
    if options.alone or not bench.redis_url:
        yield None
        return
    with _bare.working(bench, model) as (pid, work):
        yield _System("celery", [pid, *bench.shared], work, lambda: None)


def _row(bench: Bench, system: _System, sessions: int, options: Options) -> Row:
    _load.closed_loop(system.work, sessions, min(WARM_SECONDS, options.seconds))
    bench.settle()
    bench.model.most_waiting()
    usage, counts = processes.Usage(system.trees), system.count()
    taken = _load.closed_loop(system.work, sessions, options.seconds)
    used, memory, runs = usage.processor_seconds(), usage.memory_mib(), len(taken.found)
    each = {kind: round(1000 * used[kind] / max(runs, 1), 2) for kind in processes.KINDS}
    return {
        "system": system.name,
        "sessions": sessions,
        "model_ms": options.model_ms,
        "tool": options.tool,
        "workers": options.workers,
        "runs": runs,
        "runs_per_second": round(taken.pace, 1),
        **spread("accepted", [accepted for accepted, _ in taken.found]),
        **spread("completed", [completed for _, completed in taken.found]),
        "waiting_at_once": bench.model.most_waiting(),
        **(counts.per(runs) if counts is not None else {}),
        "processor_ms_per_run": round(sum(each.values()), 2),
        "processor_ms": each,
        "memory_mib": round(sum(memory.values()), 1),
        "memory_mib_of": {kind: round(held, 1) for kind, held in memory.items()},
    }


def _report(rows: list[Row], options: Options) -> Report:
    report = Report(rows=rows, columns=_COLUMNS)
    for sessions in dict.fromkeys(options.sessions):

        def of(name: str, system: str = "kheish", sessions: int = sessions) -> float:
            return median_of(rows, name, system=system, sessions=sessions)

        _add_pace(report, sessions, of, options)
    ours: list[Row] = [row for row in rows if row["system"] == "kheish"]
    if ours and ours[0].get("commits") is not None:
        most = COMMITS + COMMITS_OF_A_CALL * options.tool
        report.add("commits of a run", median_of(ours, "commits"), "", Aim(most))
    if ours and ours[0].get("statements") is not None:
        report.add("statements of a run", median_of(ours, "statements"))
    largest = max(options.sessions)
    for kind in processes.KINDS:
        spent = [row["processor_ms"] for row in ours if row["sessions"] == largest]
        report.add(f"processor of {kind}, {largest} sessions", median_of(spent, kind), "ms/run")
    return report


def _add_pace(report: Report, sessions: int, of: Callable[..., Any], options: Options) -> None:
    aim = Aim(30, least=True) if (sessions, options.model_ms) == (32, 1000) else None
    words = f"{sessions} session{'s' * (sessions > 1)}"
    report.add(f"runs, {words}", of("runs_per_second"), "/s", aim)
    bare = of("runs_per_second", "celery")
    if bare:
        least = BESIDE_CELERY.get(sessions) if not (options.model_ms or options.tool) else None
        beside = Aim(least, least=True) if least else None
        report.add(f"runs beside bare Celery, {words}", of("runs_per_second") / bare, "ratio", beside)
        spent = of("processor_ms_per_run", "celery")
        ratio = of("processor_ms_per_run") / spent if spent else 0.0
        report.add(f"processor beside bare Celery, {words}", ratio, "ratio")
    report.add(f"completed p50, {words}", of("completed_p50_ms"), "ms")
    report.add(f"completed p99, {words}", of("completed_p99_ms"), "ms")
    most = Aim(PROCESSOR_MS) if sessions == 8 and not options.tool else None
    report.add(f"processor, {words}", of("processor_ms_per_run"), "ms/run", most)


WORKLOAD: Final = Workload(
    name="runs",
    about=__doc__,
    measure=measure,
    options=_add_options,
    settings=_settings,
    variant=_variant,
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
