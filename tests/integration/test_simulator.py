"""Worlds of the simulator: a few in each run of the suite, and the proof that they notice a bug."""

import pytest

from tests.torture import simulator

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


def test_nothing_breaks_in_any_world(capfd: pytest.CaptureFixture[str]) -> None:
    assert simulator.run(1, 24) == 0, capfd.readouterr().out
    assert "24 worlds from seed 1" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("bug", "first", "words"), [("nobody_is_asked", 1, "never approved"), ("opaque_run_again", 17, "call_")]
)
def test_a_bug_breaks_some(capfd: pytest.CaptureFixture[str], bug: str, first: int, words: str) -> None:
    assert simulator.run(first, 8, bug=bug) == 1
    assert words in capfd.readouterr().out
