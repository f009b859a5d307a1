"""Every workload of ``manage.py bench``, tiny: it starts, and counts what it has done. Never how fast."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import smoke

ROOT = Path(__file__).resolve().parents[2]
PROFILE = os.environ.get("KHEISH_TEST_PROFILE", "embedded")
DATABASE = ("runs", "streams", "history", "finished", "accept")
"""Workloads that look past the service into its database: what they count is PostgreSQL's."""
CHOSEN = tuple(name for name in smoke.SIZES if (PROFILE == "services") == (name in DATABASE))
Row = dict[str, Any]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What one run of them all has found; it ends with 0 only when nothing went wrong in any."""
    command = [
        sys.executable,
        "manage.py",
        "bench",
        "smoke",
        "--json",
        "--profile",
        PROFILE,
        "--only",
        *CHOSEN,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_workload_has_figures_and_no_problems(found: dict[str, Any], name: str) -> None:
    report = found[name]
    assert report["problems"] == [] and report["rows"] and report["figures"]
    assert all(figure["met"] in (True, False) for figure in report["figures"] if "aim" in figure)
    COUNTS[name](*report["rows"])


def runs(row: Row) -> None:
    assert row["runs"] >= 2 and 1 <= row["waiting_at_once"] <= 2
    assert row["processor_ms"].keys() == row["memory_mib_of"].keys()
    assert row["memory_mib_of"]["web"] > 0 < row["memory_mib_of"]["worker"]
    assert row["commits"] > 1


def accept(row: Row) -> None:
    assert row["inputs"] >= 2
    assert row["commits"] >= 1


def order(row: Row) -> None:
    assert (row["completed"], row["at_once"], row["in_order"], row["one_at_a_time"]) == (4, 1, True, True)


def waiting(all_wait: Row, working: Row) -> None:
    assert (all_wait["runs"], all_wait["at_once"]) == (6, 6)
    assert working["runs"] >= 2 >= working["at_once"] >= 1


def streams(row: Row) -> None:
    assert (row["runs"], row["alive"]) == (4, 18)
    assert row["heard"] == row["expected"] >= 4 * 2 * 3  # two readers hear more than its begin and its end


def approvals(alone: Row, together: Row) -> None:
    assert [alone["people"], alone["approvals"], together["people"], together["approvals"]] == [1, 2, 2, 2]


def deliveries(row: Row) -> None:
    assert (row["targets"], row["messages"], row["arrived"]) == (4, 8, 8)


def ingress(row: Row) -> None:
    assert (row["sent"], row["answered"], row["refused"], row["runs"]) == (4, 4, 0, 4)


def history(long: Row, short: Row) -> None:
    assert long["runs"] == short["runs"] == 2
    assert long["entries"] >= 300 > 10 * short["entries"]


def finished(empty: Row, full: Row) -> None:
    assert full["database"] == "250 finished runs"
    assert all(row[part] > 0 for row in (empty, full) for part in ("due", "lost_workers", "retention"))


def recovery(row: Row) -> None:
    assert row["completed"] == 4 and row["left_runs"] >= 1


COUNTS = {
    each.__name__: each
    for each in (
        runs, accept, order, waiting, streams, approvals, deliveries, ingress, history, finished, recovery
    )
}  # fmt: skip
