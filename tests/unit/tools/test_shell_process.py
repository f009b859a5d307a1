"""Commands as process groups that end when they should, also when their worker does not get to say so."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sessions_app.tools.shell_process import ShellProcess, StartFailed, build_environment
from tests.support.service_process import alive

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def spawn(tmp_path):
    started: list[ShellProcess] = []

    def start(command: str, **options) -> tuple[ShellProcess, list[str]]:
        pieces: list[str] = []
        arguments = {
            "workdir": tmp_path,
            "env": ENVIRONMENT,
            "on_output": pieces.append,
            "on_exit": lambda _: None,
        }
        process = ShellProcess(command=command, **(arguments | options))
        process.start()
        started.append(process)
        return process, pieces

    yield start
    for process in started:
        process.stop(grace_seconds=0.1)


def gone(pid: int, within_seconds: float = 5) -> bool:
    deadline = time.monotonic() + within_seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def number_in(path: Path) -> int:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError(f"{path.name} was not written")


@pytest.mark.parametrize(
    ("command", "exit_code", "reason", "output"),
    [
        ("echo out; echo err >&2", 0, "exited", "out\nerr\n"),
        ("exit 3", 3, "exited", ""),
        ("kill -SEGV $$", 139, "signalled", ""),
        ("printf '\\303\\251\\000\\377'", 0, "exited", "é\ufffd\ufffd"),
        ("cat; echo end", 0, "exited", "end\n"),
        ("no-such-command 2>/dev/null", 127, "exited", ""),
    ],
)
def test_endings(spawn, command, exit_code, reason, output):
    process, pieces = spawn(command)
    report = process.wait(10)
    assert (report.exit_code, report.terminal_reason) == (exit_code, reason)
    assert "".join(pieces) == output


def test_output_comes_while_the_command_runs(spawn):
    process, pieces = spawn("echo first; sleep 30")
    deadline = time.monotonic() + 5
    while not pieces and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pieces == ["first\n"]
    assert process.wait(0) is None


def test_much_output_is_whole_and_comes_in_large_pieces(spawn):
    process, pieces = spawn("head -c 3000000 /dev/zero | tr '\\0' 'é'")
    report = process.wait(20)
    assert len("".join(pieces)) == report.total_bytes or report.total_bytes == 3_000_000
    assert len(pieces) < 200


def test_the_exit_is_reported_once_after_all_output(spawn):
    events: list[str] = []
    process, _ = spawn(
        "echo a", on_output=events.append, on_exit=lambda report: events.append(str(report.exit_code))
    )
    process.wait(10)
    assert events == ["a\n", "0"]


def test_stop_ends_the_whole_group(spawn, tmp_path):
    process, _ = spawn("sleep 300 & echo $! > child; wait")
    child = number_in(tmp_path / "child")
    report = process.stop("enough")
    assert (report.terminal_reason, report.stop_reason, report.exit_code) == ("stopped", "enough", 143)
    assert gone(child)


def test_stop_kills_what_will_not_end(spawn, tmp_path):
    process, _ = spawn("trap '' TERM; echo $$ > pid; while true; do sleep 0.1; done")
    pid = number_in(tmp_path / "pid")
    report = process.stop(grace_seconds=0.3)
    assert (report.terminal_reason, report.exit_code) == ("stopped", 137)
    assert gone(pid)


def test_stop_after_the_end_changes_nothing(spawn):
    process, _ = spawn("exit 5")
    process.wait(10)
    assert process.stop("late").exit_code == 5
    assert process.report.terminal_reason == "exited"


def test_what_a_command_leaves_behind_dies_with_it(spawn, tmp_path):
    process, _ = spawn("sleep 300 & echo $! > child")
    report = process.wait(10)
    assert report.exit_code == 0
    assert gone(number_in(tmp_path / "child"))


def test_an_escaped_process_that_holds_the_output_is_not_waited_for(spawn):
    process, pieces = spawn("setsid sleep 3 & echo end")
    assert process.wait(2.5).exit_code == 0
    assert pieces == ["end\n"]


def test_a_command_that_closes_its_output_is_still_waited_for(spawn):
    process, _ = spawn("exec >&- 2>&-; sleep 0.5; exit 4")
    assert process.wait(10).exit_code == 4


def test_too_much_output_kills_the_command(spawn):
    process, _ = spawn("yes", output_limit_bytes=100_000)
    assert process.wait(10).terminal_reason == "output_limit"


def test_a_receiver_that_fails_ends_the_command(spawn):
    def refuse(text: str) -> None:
        raise OSError("no room")

    process, _ = spawn("echo x; sleep 300", on_output=refuse)
    assert process.wait(10).terminal_reason == "output_capture_failed"


def test_output_that_is_lost_after_the_end_is_no_success(spawn):
    def refuse(text: str) -> None:
        raise OSError("no room")

    process, _ = spawn("echo x; sleep 300 &", on_output=refuse)  # whose end is seen before its output goes on
    assert process.wait(10).terminal_reason == "output_capture_failed"


def test_a_report_that_cannot_be_recorded_does_not_hang_the_waiter(spawn):
    def refuse(report: object) -> None:
        raise OSError("no database")

    process, _ = spawn("exit 2", on_exit=refuse)
    assert process.wait(10).exit_code == 2


@pytest.mark.parametrize(("command", "workdir"), [("true", "nowhere"), ("x" * 200_000, "."), ("a\x00b", ".")])
def test_what_cannot_be_started_says_so(tmp_path, closes_descriptors, command, workdir):
    process = ShellProcess(
        command=command,
        workdir=tmp_path / workdir,
        env=ENVIRONMENT,
        on_output=lambda text: None,
        on_exit=lambda report: None,
    )
    with pytest.raises(StartFailed):
        process.start()


def test_no_descriptor_is_left_open_and_none_is_given_to_the_command(spawn, closes_descriptors):
    process, pieces = spawn("ls /proc/self/fd | wc -l")
    process.wait(10)
    assert int("".join(pieces)) <= 4  # three streams and the folder that ls reads


def test_a_command_outlives_the_thread_that_started_it(tmp_path):
    """The kernel's parent-death signal would kill it here."""
    pieces: list[str] = []
    process = ShellProcess(
        command="sleep 0.5; echo done",
        workdir=tmp_path,
        env=ENVIRONMENT,
        on_output=pieces.append,
        on_exit=lambda report: None,
    )
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    assert process.wait(10).exit_code == 0
    assert pieces == ["done\n"]


WORKER = """
import sys, time
from pathlib import Path
from sessions_app.tools.shell_process import ShellProcess
process = ShellProcess(
    command="trap '' TERM HUP; sleep 300 & echo $! > child; echo $$ > leader; wait",
    workdir=Path(sys.argv[1]), env={"PATH": "/usr/bin:/bin"},
    on_output=lambda text: None, on_exit=lambda report: None,
)
process.start()
while not Path(sys.argv[1], "leader").exists():
    time.sleep(0.02)
if sys.argv[2] == "stopping":
    process._end("stopped", "", 15)
Path(sys.argv[1], "ready").write_text("1")
time.sleep(300)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["running", "stopping"])
def test_nothing_survives_the_worker(tmp_path, moment, signum):
    """Also not a command that was asked to end and takes its time."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), moment],
        env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        pids = [number_in(tmp_path / "child"), number_in(tmp_path / "leader")]
        number_in(tmp_path / "ready")
        assert all(map(alive, pids))
    finally:
        worker.send_signal(signum)
        worker.wait(10)
    assert all(map(gone, pids))


def test_commands_see_listed_variables_only():
    source = {"PATH": "/bin", "LANG": "C", "TOKEN": "secret", "KHEISH_MASTER_KEY": "secret"}
    assert build_environment(["PATH", "LANG", "HOME", "KHEISH_MASTER_KEY"], source) == {
        "PATH": "/bin",
        "LANG": "C",
    }
    assert "PATH" in build_environment([], {})
