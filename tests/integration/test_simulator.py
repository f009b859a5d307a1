"""The simulator's own guards: what it cannot play, did not see or finds wrong makes it red, and is told.

``.ci/run`` plays thousands of worlds; the few here only prove that a red one would be noticed.
"""

import subprocess
import sys
from typing import Any

import pytest

from tests.torture import simulator
from tests.torture.simulator import DONE, EXPECTED, MANY, Tally

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


def test_worlds_are_played_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    assert simulator.run(11, 4) == 0, capfd.readouterr().out
    told = capfd.readouterr().out
    assert "4 worlds from seed 11, commit " in told
    assert "4 worlds, seeds 11 to 14, 0 failed" in told
    counts = {words: int(count) for count, _, words in map(_parts, told.splitlines()) if count.isdigit()}
    assert counts["worlds in which a worker died"] >= 3 and counts["approvals given"] >= 3, told


def _parts(line: str) -> tuple[str, str, str]:
    return line.strip().partition("  ")


def test_a_world_that_is_wrong_is_red_and_says_how_it_is_played_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert simulator.run(1, 2, bug="nobody_is_asked") == 1
    told = capfd.readouterr().out
    assert "without approval" in told
    assert "again: manage.py torture --simulate 1 --seed 1 --bug nobody_is_asked" in told


def test_a_process_that_dies_is_red(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]

    def begin(*given: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(dying, stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(simulator, "_begin", begin)
    assert simulator.run(1, 2) == 1
    assert "the simulator itself failed: it ended with -9" in capfd.readouterr().err


EVERYTHING = dict.fromkeys([*DONE, *EXPECTED.values(), *simulator.engine_deaths()], 1)


def of_many(seen: dict[str, int]) -> Tally:
    tally = Tally(1, MANY)
    tally.hear({"process": 0, "played": MANY, "seen": seen})
    return tally


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_many_worlds_without_something_are_red(name: str) -> None:
    assert of_many(EVERYTHING).missing() == []
    assert of_many(EVERYTHING | {name: 0}).missing() == [name]
    assert f"FAILED: {name} in no world" in of_many(EVERYTHING | {name: 0}).as_text()
