"""How soon runs go on after a death: of the whole service, and of a worker.

A run counts as resumed at the ``at`` of its ``run.recovered``. Each round kills the service in the middle of
one model call and starts it again; kills a worker likewise, which its supervisor starts again; and kills the
service while many sessions have several runs each, and waits until all are done. The time after a killed
service counts from its new start; the work left is what the model alone would take.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench import _load
from bench._figures import Aim, Report
from bench._load import Inputs, moment
from bench._service import Bench, median_of, say
from bench._workload import Options, Workload

RESTART_AIM_SECONDS: Final = 3.0
WORKER_AIM_SECONDS: Final = 2.0
DONE_AIM_SECONDS: Final = 5.0
LEASE_SECONDS: Final = 15.0
_ATTEMPTS: Final = 3
_POLL_SECONDS: Final = 0.05


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(3)")
    parser.add_argument("--sessions", type=int, default=20, metavar="N", help="of the last part (20)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each session (3)")
    parser.add_argument("--model-ms", type=float, default=1000.0, metavar="MS", help="a call takes (1000)")


def _settings(options: Options) -> dict[str, str]:
    return {"KHEISH_LEASE_SECONDS": f"{LEASE_SECONDS:g}"}


def measure(bench: Bench, options: Options) -> Report:
    """Kill, and wait, a few times."""
    report = Report()
    route = bench.route(ms=options.model_ms)
    for number in range(options.rounds):
        report.rows.append(
            {
                "round": number + 1,
                "restarted_seconds": _caught(_restarted, bench, route),
                "worker_seconds": _caught(_worker_killed, bench, route),
                **_all_done(bench, route, options),
            }
        )
        say(f"round {number + 1}: {report.rows[-1]}")

    def of(name: str) -> float:
        return median_of(report.rows, name)

    lease = f"lease of {LEASE_SECONDS:g} s"
    aim = Aim(LEASE_SECONDS + WORKER_AIM_SECONDS)
    report.add(
        "service killed, from its start to resumed", of("restarted_seconds"), "s", Aim(RESTART_AIM_SECONDS)
    )
    report.add(f"worker killed, from its death to resumed, {lease}", of("worker_seconds"), "s", aim)
    left = of("left_seconds")
    words = f"service killed, {options.sessions * options.runs} runs, from its start to all done"
    report.add(words, of("done_seconds"), "s", Aim(DONE_AIM_SECONDS + left))
    report.add("of which the model", left, "s")
    wrong = [row for row in report.rows if row["completed"] != options.sessions * options.runs]
    report.problems += [f"not all completed, or not once: {row}" for row in wrong]
    return report


def _caught(kill: Callable[[Bench, str], float | None], bench: Bench, route: str) -> float:
    """Return how long a killing took to be recovered from. Raises TimeoutError when none came in time."""
    for _ in range(_ATTEMPTS):
        seconds = kill(bench, route)
        if seconds is not None:
            return round(seconds, 3)
    raise TimeoutError("every run had ended before it could be interrupted: --model-ms is too short")


def _restarted(bench: Bench, route: str) -> float | None:
    run_id = _running(bench, route)
    bench.service.kill()
    began = time.time()
    bench.service.restart()
    return _resumed(bench, run_id, began)


def _worker_killed(bench: Bench, route: str) -> float | None:
    run_id = _running(bench, route)
    died = time.time()
    for pid in bench.pids("worker"):
        os.kill(pid, signal.SIGKILL)
    return _resumed(bench, run_id, died)


def _all_done(bench: Bench, route: str, options: Options) -> dict[str, Any]:
    """Kill the service in the middle of the second run of each session; return how long the rest took."""
    inputs, names = Inputs(bench), bench.sessions(options.sessions)
    run_ids = [inputs.submit(name, route) for _ in range(options.runs) for name in names]
    second = run_ids[len(names) : 2 * len(names)] or run_ids
    _until(bench, second[-1:], ("running", "completed"))
    bench.service.kill()
    began = time.time()
    bench.service.restart()
    views = _until(bench, run_ids, ("completed",))
    ends = [moment(view["finished_at"]) for view in views]
    left = max(sum(end > began for end in ends[place :: len(names)]) for place in range(len(names)))
    return {
        "done_seconds": round(max(ends) - began, 2),
        "left_seconds": round(left * options.model_ms / 1000, 2),
        "completed": sum(view["status"] == "completed" for view in views),
        "left_runs": sum(end > began for end in ends),
    }


def _running(bench: Bench, route: str) -> str:
    """Return the id of a run that has just begun: its model is asked about now."""
    bench.warm(route)
    (session,) = bench.sessions(1)
    run_id = Inputs(bench).submit(session, route)
    _until(bench, [run_id], ("running", "completed"))
    return run_id


def _resumed(bench: Bench, run_id: str, since: float) -> float | None:
    """Return the seconds until a run was taken over, by its journal, once it ends; None if it was not."""
    _until(bench, [run_id], ("completed",))
    entries = bench.client.runs(run_id).events()
    taken = [moment(entry["at"]) for entry in entries if entry["kind"] == "run.recovered"]
    return taken[0] - since if taken else None


def _until(bench: Bench, run_ids: Sequence[str], statuses: Sequence[str]) -> list[dict[str, Any]]:
    """Return the runs once each has one of these statuses. Raises TimeoutError."""
    deadline = time.monotonic() + _load.ANSWER_SECONDS
    views = []
    for run_id in run_ids:
        while (view := bench.client.runs(run_id).get())["status"] not in statuses:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{run_id} is {view['status']}")
            time.sleep(_POLL_SECONDS)
        views.append(view)
    return views


WORKLOAD: Final = Workload(
    name="recovery",
    about=__doc__,
    measure=measure,
    options=_add_options,
    settings=_settings,
    profiles=("embedded", "services"),
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
