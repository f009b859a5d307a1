"""Groups that end with the process which started them, and do not meddle with the command otherwise."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kheish_site.lib.process_group import NOT_STARTED, ProcessGroup
from tests.support.service_process import alive, until

ENVIRONMENT = {"PATH": os.environ["PATH"]}

OWNER = """
import sys, time
from kheish_site.lib.process_group import ProcessGroup
command = ["sh", "-c", "sleep 600 & echo $! > inner; wait"]
print(ProcessGroup(command, cwd=sys.argv[1], env={"PATH": "/usr/bin:/bin"}).pid, flush=True)
time.sleep(600)
"""


def spawn(folder: Path, *command: str, stdout: int = subprocess.DEVNULL) -> ProcessGroup:
    return ProcessGroup(command, cwd=folder, env=ENVIRONMENT, stdout=stdout)


def test_a_group_dies_with_its_owner_and_so_does_what_a_wrapper_started(tmp_path: Path) -> None:
    """An owner that is killed cannot stop anything; the end of its pipe does."""
    inner = tmp_path / "inner"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    with owner.stdout:
        pid = int(owner.stdout.readline())
        until(lambda: inner.exists() and bool(inner.read_text().strip()), 10, lambda: pid)
        started = int(inner.read_text())
        assert alive(pid) and alive(started)
        owner.kill()
        owner.wait()
    until(lambda: not alive(pid) and not alive(started), 10, lambda: (pid, started))


def test_what_a_command_leaves_behind_is_reaped_with_it(tmp_path: Path) -> None:
    group = spawn(tmp_path, "sh", "-c", "sleep 600 & echo $! > inner; exit 3")
    assert group.reap() == 3
    assert group.is_gone
    with pytest.raises(OSError):
        os.fstat(group._lifeline)
    started = int((tmp_path / "inner").read_text())
    until(lambda: not alive(started), 10, lambda: started)


def test_a_command_may_wait_for_all_its_children(tmp_path: Path) -> None:
    """The watcher is none of them, or it would wait for ever."""
    script = "import os\ntry:\n    while True: os.wait()\nexcept ChildProcessError: pass"
    group = spawn(tmp_path, sys.executable, "-S", "-c", script)
    try:
        assert group.process.wait(10) == 0
    finally:
        group.signal(signal.SIGKILL)
        group.reap()


def test_a_group_that_was_killed_is_never_signalled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its watcher is gone, so its number may belong to somebody else."""
    group = spawn(tmp_path, "sleep", "600")
    group.signal(signal.SIGKILL)
    sent: list[int] = []
    monkeypatch.setattr("os.killpg", lambda *told: sent.append(told[0]))
    group.signal(signal.SIGTERM)
    assert group.reap() == -signal.SIGKILL
    assert group.is_gone and sent == []


@pytest.mark.parametrize("name", ["missing", "not-executable"])
def test_a_command_that_cannot_be_started_is_known_by_its_end(tmp_path: Path, name: str) -> None:
    (tmp_path / "not-executable").write_text("data")
    assert spawn(tmp_path, str(tmp_path / name)).reap() in NOT_STARTED


def test_a_folder_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn(tmp_path / "nowhere", "true")
