"""Turns between processes: one at a time, none for the dead, no waiting for the frozen."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kheish_site.lib import file_turn

HOLD = """
import sys, time
from kheish_site.lib.file_turn import turn
with turn(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "db")], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"mine\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_waits_and_a_dead_one_is_not_waited_for(
    holder: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_turn, "LONGEST_SECONDS", 0.1)
    descriptor = file_turn._descriptor(str(tmp_path / "db"), os.getpid())
    assert not file_turn._take(descriptor)
    holder.kill()
    holder.wait()
    monkeypatch.setattr(file_turn, "LONGEST_SECONDS", 10.0)
    with file_turn.turn(str(tmp_path / "db")):
        pass


def test_a_frozen_one_holds_nobody_up_for_ever(
    holder: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(file_turn, "LONGEST_SECONDS", 0.1)
    with file_turn.turn(str(tmp_path / "db")):
        entered = True
    assert entered
