"""What a torture rests on: crash points are listed, refused in service, dealt deaths, and missed."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ulid import ULID

from kheish_site.lib.crashpoints import POINTS
from tests.support.service_process import state, until
from tests.torture import bugs, harness, schedule, stage
from tests.torture.bugs import BUGS
from tests.torture.evidence import Evidence
from tests.torture.invariants import INVARIANTS, Judgement, every_run_ends_or_waits
from tests.torture.report import Report, Wanted

ROOT = Path(__file__).resolve().parents[3]
APPS = ("kheish_site", "sessions_app", "channels_app", "connectors_app")
CALL = re.compile(r"\bcrashpoint\(\"([^\"]+)\"\)")


def passed_in_the_code() -> set[str]:
    files = (file for app in APPS for file in (ROOT / app).rglob("*.py"))
    return {name for file in files for name in CALL.findall(file.read_text())}


def test_every_crash_point_is_listed_and_every_listed_one_is_passed() -> None:
    assert passed_in_the_code() == set(POINTS)


def started(**environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "import kheish_site.lib.crashpoints"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", sorted(POINTS))
def test_a_crash_point_is_refused_by_a_process_that_is_not_under_test(name: str) -> None:
    from kheish_site.lib import crashpoints

    with pytest.raises(crashpoints.Refused, match="for tests alone"):
        crashpoints.arm({"KHEISH_CRASHPOINT": name})
    crashpoints.arm({"KHEISH_CRASHPOINT": name, "KHEISH_TESTING": "1"})
    crashpoints.arm({})


def test_a_process_does_not_even_start_with_one() -> None:
    refused = started(KHEISH_CRASHPOINT="claimed")
    assert refused.returncode == 1 and "for tests alone" in refused.stderr
    assert started(KHEISH_CRASHPOINT="claimed", KHEISH_TESTING="1").returncode == 0


@pytest.mark.parametrize("wrong", ["nowhere", "claimed,nowhere", "claimed:explode"])
def test_a_place_that_does_not_exist_is_refused(wrong: str) -> None:
    refused = started(KHEISH_CRASHPOINT=wrong, KHEISH_TESTING="1")
    assert refused.returncode == 1 and "there are: claimed" in refused.stderr


@pytest.mark.parametrize("seed", [1, 7, 4711])
def test_every_seed_deals_every_point_its_deaths(seed: int) -> None:
    workers = [life for slot in range(3) for life in schedule.planned(seed, "worker", slot, 60)]
    lives = workers + schedule.planned(seed, "web", 0, 30) + schedule.planned(seed, "command", 0, 12)
    dealt = Counter(life.point for life in lives if life.ending == "point")
    assert {point for point in POINTS if dealt[point] < 3} == set()
    assert {life.ending for life in workers} == {"point", "kill", "term", "freeze"}


def test_a_seed_is_a_schedule() -> None:
    assert schedule.planned(5, "worker", 0, 80) == schedule.planned(5, "worker", 0, 80)
    assert schedule.planned(5, "worker", 0, 80) != schedule.planned(6, "worker", 0, 80)


GIVEN: dict[str, Any] = {
    "seed": 1, "commit": "c", "profile": "services", "command": "torture",
    "wanted": Wanted(kills=40, runs=20, cuts=10, races_a_cell=2),
    "kills": dict.fromkeys(POINTS, 2),
    "counts": {"runs among faults": 20, "stream cuts": 10},
    "cells": {"approval x2 same": 2, "approval x2 split": 3},
    "judgements": [Judgement("held", "it holds", checked=1)],
}  # fmt: skip


def test_a_report_of_all_that_was_wanted_is_green() -> None:
    assert Report(**GIVEN).is_green
    assert "GREEN" in Report(**GIVEN).as_text()


@pytest.mark.parametrize("point", sorted(POINTS))
def test_a_report_with_a_point_nobody_died_at_is_red(point: str) -> None:
    report = Report(**GIVEN | {"kills": dict.fromkeys(POINTS, 20) | {point: 0}})
    assert not report.is_green and f"nobody was killed at {point}" in report.as_text()


@pytest.mark.parametrize(
    ("less", "words"),
    [
        ({"wanted": Wanted(kills=45, runs=0, cuts=0, races_a_cell=0)}, "44 of 45"),
        ({"counts": {"runs among faults": 19, "stream cuts": 10}}, "runs accepted among faults: 19 of 20"),
        ({"counts": {"runs among faults": 20, "stream cuts": 9}}, "cuts of open streams: 9 of 10"),
        ({"cells": {"approval x2 same": 1, "approval x2 split": 30}}, "races of these: 3 of 4"),
        ({"judgements": [Judgement("held", "it holds")]}, "held was never looked at"),
    ],
)
def test_a_report_of_less_than_was_wanted_is_red(less: dict[str, Any], words: str) -> None:
    report = Report(**GIVEN | less)
    assert not report.is_green and words in report.as_text()


def test_a_report_of_a_violation_or_a_failure_is_red() -> None:
    violated = Judgement("held", "it holds", checked=1, violations=["it does not"])
    assert not Report(**GIVEN | {"judgements": [violated]}).is_green
    assert not Report(**GIVEN | {"failures": ["a worker did not leave"]}).is_green


def test_a_run_that_failed_unexpectedly_is_shown_with_what_the_service_logged_of_it(tmp_path: Path) -> None:
    lines = [
        "2026-01-01T00:00:01Z [error    ] run failed [loop] action=drive run=run_1",
        "Traceback (most recent call last):",
        "ZeroDivisionError: the cause",
        "2026-01-01T00:00:02Z [error    ] run failed [loop] action=drive run=run_2",
        "ValueError: of another run",
        "2026-01-01T00:00:03Z [warning  ] lease lost [loop] action=drive run=run_1",
    ]
    (tmp_path / "service.log").write_text("\n".join(lines))
    failed = {"run_id": "run_1", "session_id": "s", "status": "failed", "error": {"code": "internal_error"}}
    evidence = Evidence(
        folder=tmp_path, runs=[failed], journals={}, verdicts={}, deliveries=[], workspaces={}, oracles={},
        inputs=[], decisions=[], events=[], faults=[], streams=[],
    )  # fmt: skip
    judgement = Judgement("every_run_ends_or_waits", "it ends")
    every_run_ends_or_waits(evidence, judgement)
    (violation,) = judgement.violations
    assert "run_1 failed" in violation and "ZeroDivisionError: the cause" in violation
    assert "another run" not in violation and "lease lost" not in violation


def test_a_worker_is_told_from_an_earlier_and_a_later_process_of_its_id(tmp_path: Path) -> None:
    """Within an hour process ids come again."""
    starts = [(1_000.0, 0.0, "web"), (3_000.0, 20.0, "worker"), (5_000.0, -20.0, "worker")]
    faults = [{"what": "start", "pid": 7, "at": at, "skew": skew, "role": of} for at, skew, of in starts]
    evidence = Evidence(
        folder=tmp_path, runs=[], journals={}, verdicts={}, deliveries=[], workspaces={}, oracles={},
        inputs=[], decisions=[], events=[], faults=faults, streams=[],
    )  # fmt: skip
    skews = [evidence.skew_of(f"box:7:w_{ULID.from_timestamp(born)}") for born in (1_000.5, 3_002.0, 5_001.0)]
    assert skews == [0.0, 20.0, -20.0]
    assert evidence.skew_of(f"box:8:w_{ULID()}") == 0.0


def test_a_kill_is_one_only_of_what_lived_until_then() -> None:
    living = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    assert stage.kill(living)
    left = os.posix_spawn("/bin/true", ["true"], os.environ)
    until(lambda: state(left) == "Z", 10, lambda: state(left))
    assert not stage.kill(left)


def test_a_bug_that_does_not_exist_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert bugs.prove(["fence_droped"], seed=1, profile="services") == 2
    assert "no such bug: fence_droped; there are: fence_dropped" in capsys.readouterr().err


def test_every_invariant_says_where_it_is_promised() -> None:
    rows = set(re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs/guarantees.md").read_text(), re.MULTILINE))
    for each in INVARIANTS:
        named = re.search(r'guarantees, "(.+?)"', each.__doc__ or "")
        assert named is not None, each.__name__
        assert any(row.startswith(named[1]) for row in rows), (each.__name__, named[1])


def test_every_seeded_bug_names_invariants_that_exist() -> None:
    names = {each.__name__ for each in INVARIANTS}
    assert len(BUGS) >= 10
    for bug in BUGS.values():
        assert bug.what and bug.caught_by and set(bug.caught_by) <= names, bug.name


ROW = re.compile(r"^\| (?P<boundary>[^|]+) \| (?P<held>[^|]*) \| (?P<judged>[^|]*) \|$", re.MULTILINE)


def test_every_guarantee_names_a_test_that_is_there() -> None:
    promised, _, proved = (ROOT / "docs" / "guarantees.md").read_text().partition("## The test that holds it")
    rows = {
        row["boundary"]: row for row in ROW.finditer(proved) if "::" in row["held"] or "none:" in row["held"]
    }
    promises = re.findall(r"^\| ([^|]+) \|(?:[^|]*\|){3}$", promised, re.MULTILINE)
    assert set(rows) == set(promises) - {"boundary"}
    names = {each.__name__ for each in INVARIANTS}
    for boundary, row in rows.items():
        tests = re.findall(r"`(tests/[^`:]+)::([^`]+)`", row["held"])
        assert tests or boundary == "power loss"
        for file, name in tests:
            assert f"def {name}(" in (ROOT / file).read_text(), (boundary, file, name)
        assert set(re.findall(r"`([a-z_]+)`", row["judged"])) <= names, boundary


@pytest.mark.parametrize(("bug", "kept"), [("", True), ("fence_dropped", False)])
def test_what_a_torture_leaves_that_came_to_no_judgement_is_kept(
    bug: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> None:
        raise RuntimeError("the service does not answer")

    monkeypatch.setattr(harness.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "left"))
    (tmp_path / "left").mkdir()
    monkeypatch.setattr(harness, "World", broken)
    order = harness.Order(
        seed=1, profile="services", wanted=None, seconds=0.0, limit=0.0, command="torture", bug=bug
    )
    with pytest.raises(RuntimeError):
        harness.torture(order, None)  # type: ignore[arg-type]
    assert (tmp_path / "left").exists() is kept
