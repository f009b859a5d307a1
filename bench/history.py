"""A run in a session whose journal is long, beside a run in one that has just begun.

Most of the long journal is under a checkpoint, as it is in a session that has lived for long: a model would
not read it. Both sessions take turns, so both conversations are as long as each other after the checkpoint.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Final

from bench import _load, _rows
from bench._figures import Aim, Report, at, spread
from bench._rows import CHECKPOINTS, ENTRIES, RUNS, SESSIONS, Rows
from bench._service import Bench, say
from bench._workload import Options, Workload
from kheish_site.cli.client import path

AIM: Final = 1.5
_SUMMARY: Final = "What was said so far."
_PAYLOAD: Final = f'{{"summary": "{_SUMMARY}"}}'
_INTO_CHECKPOINTS: Final = "session_id, through_seq, summary, restoration, tokens_before, tokens_after"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=100_000, metavar="N", help="(100000)")
    parser.add_argument("--runs", type=int, default=60, metavar="N", help="in each session (60)")


def measure(bench: Bench, options: Options) -> Report:
    """Lengthen one session's journal, then let it and an empty session run by turns."""
    inputs, events, route = _load.Inputs(bench), _load.Events(bench), bench.route()
    long, short = bench.sessions(2)
    events.ended(inputs.submit(long, route))
    with _rows.rows(bench) as database:
        _lengthen(database, long, options.entries)
        database.settle()
    taken: dict[str, list[float]] = {long: [], short: []}
    for session in (long, short):  # the first of each: what is remembered of a session is remembered
        events.ended(inputs.submit(session, route))
    say(f"{options.runs} runs in each session")
    for number in range(2 * options.runs):
        session = (long, short)[number % 2]
        sent = time.monotonic()
        events.ended(inputs.submit(session, route))
        taken[session].append(time.monotonic() - sent)
    report = Report()
    for session in (long, short):
        entries = bench.client.page(path("sessions", session, "events"), limit=1)["pagination"]
        report.rows.append(
            {
                "session": "long" if session == long else "short",
                "entries": entries["total_count"],
                "runs": len(taken[session]),
                **spread("completed", taken[session]),
            }
        )
    ratio = at(taken[long], 0.5) / at(taken[short], 0.5)
    report.add(f"a run after {options.entries} entries beside one after none, p50", ratio, "ratio", Aim(AIM))
    report.add("completed p50, long journal", report.rows[0]["completed_p50_ms"], "ms")
    report.add("completed p50, short journal", report.rows[1]["completed_p50_ms"], "ms")
    return report


def _lengthen(database: Rows, session: str, entries: int) -> None:
    """Repeat what a session has done until its journal is as long, and put a checkpoint over most of it."""
    pk = database.value(f"SELECT id FROM {SESSIONS} WHERE session_id = '{session}'")
    head = database.value(f"SELECT max(seq) FROM {ENTRIES} WHERE session_id = {pk}")
    times = max(entries // head, 1)
    changes = {"run_id": "t.run_id || '-' || n", "position": "t.position + n"}
    database.copy(RUNS, f"t.session_id = {pk}", times, changes)
    begin = database.value(f"SELECT min(id) FROM {RUNS} WHERE session_id = {pk} AND position > 1") - 1
    own = {"seq": f"t.seq + n * {head}", "run_id": f"{begin} + n"}
    database.copy(ENTRIES, f"t.session_id = {pk} AND t.seq <= {head}", times, own)
    through = (times + 1) * head
    checkpoint = {"seq": f"{through} + n", "kind": "'checkpoint.created'", "payload": f"'{_PAYLOAD}'"}
    database.copy(ENTRIES, f"t.session_id = {pk} AND t.seq = 1", 1, checkpoint)
    database.run(
        f"INSERT INTO {CHECKPOINTS} ({_INTO_CHECKPOINTS}, trigger, created_at) "
        f"SELECT {pk}, {through}, '{_SUMMARY}', '{{}}', 0, 0, 'auto', created_at "
        f"FROM {SESSIONS} WHERE id = {pk}"
    )
    database.run(
        f"UPDATE {SESSIONS} SET next_seq = {through + 2}, next_position = {times + 2} WHERE id = {pk}"
    )


WORKLOAD: Final = Workload(
    name="history", about=__doc__, measure=measure, options=_add_options, profiles=("services", "embedded")
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)
