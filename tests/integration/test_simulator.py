"""Worlds of the simulator: a few in each run of the suite, and the proof that they notice a bug."""

import pytest

from tests.torture import simulator

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


def test_nothing_breaks_in_any_world(capfd: pytest.CaptureFixture[str]) -> None:
    assert simulator.run(1, 24) == 0, capfd.readouterr().out
    assert "24 worlds from seed 1" in capfd.readouterr().out


def test_a_bug_breaks_some(capfd: pytest.CaptureFixture[str]) -> None:
    assert simulator.run(1, 8, bug="nobody_is_asked") == 1
    assert "never approved" in capfd.readouterr().out
