"""What a torture rests on: crash points are listed, refused in service, dealt deaths, and missed."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kheish_site.lib.crashpoints import POINTS
from tests.torture import schedule
from tests.torture.bugs import BUGS
from tests.torture.invariants import INVARIANTS, Judgement
from tests.torture.report import Report

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


def test_a_report_with_a_point_nobody_died_at_is_red() -> None:
    looked_at = [Judgement("held", "it holds", checked=1)]
    whole = dict.fromkeys(POINTS, 2)
    given = {"seed": 1, "commit": "c", "profile": "services", "command": "torture", "least_kills": 10}
    assert Report(**given, kills=whole, judgements=looked_at).is_green
    for point in POINTS:
        report = Report(**given, kills=whole | {point: 0}, judgements=looked_at)
        assert not report.is_green and f"nobody was killed at {point}" in report.as_text()


def test_a_report_that_looked_at_nothing_or_killed_too_few_is_red() -> None:
    given = {"seed": 1, "commit": "c", "profile": "services", "command": "torture"}
    whole = dict.fromkeys(POINTS, 2)
    assert not Report(**given, kills=whole, least_kills=1000).is_green
    assert not Report(
        **given, kills=whole, least_kills=1, judgements=[Judgement("held", "it holds")]
    ).is_green
    violated = Judgement("held", "it holds", checked=1, violations=["it does not"])
    assert not Report(**given, judgements=[violated]).is_green


def test_every_invariant_says_where_it_is_promised() -> None:
    wordless = [
        each.__name__ for each in INVARIANTS if not re.search(r"DESIGN \d|guarantees, ", each.__doc__ or "")
    ]
    assert wordless == []


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
