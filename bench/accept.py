"""How fast an input is accepted, with nobody to drive the run: the worker stands still meanwhile.

Closed loop: each session sends its next input when the last one was accepted. An accepted input is committed.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Final

from bench import _load, _service
from bench._figures import Aim, Report, Row, spread
from bench._service import Bench, Counts
from bench._workload import Options, Workload

WARM_SECONDS: Final = 1.0
AIMS_MS: Final = {"p50": 8.0, "p99": 60.0}
"""At 8 sessions."""
_COLUMNS: Final = (
    "sessions", "inputs", "inputs_per_second", "accepted_p50_ms", "accepted_p95_ms", "accepted_p99_ms",
    "commits", "statements", "web_ms",
)  # fmt: skip


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="for each (8)")
    parser.add_argument("--web", type=int, default=1, metavar="N", help="web processes (1)")


def _settings(options: Options) -> dict[str, str]:
    return {"KHEISH_WEB_PROCESSES": str(options.web)}


def _variant(options: Options) -> str:
    return f"--web {options.web}" if options.web > 1 else ""


def measure(bench: Bench, options: Options) -> Report:
    """Measure each number of sessions while the workers stand still."""
    report = Report(columns=_COLUMNS)
    inputs, route = _load.Inputs(bench), bench.route()
    names = bench.sessions(max(options.sessions))

    def one(session: int) -> float:
        sent = time.monotonic()
        inputs.submit(names[session], route)
        return time.monotonic() - sent

    with _service.standing_still(bench):
        for sessions in options.sessions:
            _load.closed_loop(one, sessions, min(WARM_SECONDS, options.seconds))
            bench.settle()
            usage, counts = bench.usage(), Counts(bench)
            taken = _load.closed_loop(one, sessions, options.seconds)
            inputs_done = len(taken.found)
            row: Row = {
                "sessions": sessions,
                "inputs": inputs_done,
                "inputs_per_second": round(taken.pace, 1),
                **spread("accepted", taken.found),
                **counts.per(inputs_done),
                **{
                    f"{kind}_ms": round(1000 * used / max(inputs_done, 1), 2)
                    for kind, used in usage.processor_seconds().items()
                },
            }
            report.rows.append(row)
            _service.say(f"{sessions:4} sessions  {row['inputs_per_second']:7.1f} inputs/s")
            for share in ("p50", "p95", "p99"):
                words = f"accepted {share}, {sessions} session{'s' * (sessions > 1)}"
                aim = Aim(AIMS_MS[share]) if sessions == 8 and share in AIMS_MS else None
                report.add(words, row[f"accepted_{share}_ms"], "ms", aim)
    return report


WORKLOAD: Final = Workload(
    name="accept",
    about=__doc__,
    measure=measure,
    options=_add_options,
    settings=_settings,
    variant=_variant,
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
