"""bash, task_output, task_stop over real processes."""

import threading
import time
from dataclasses import replace

import pytest

from sessions_app.tools import registry
from sessions_app.tools.bash import Bash


def test_bash_returns_output_and_exit_code(call):
    result = call("bash", command="echo hello; pwd")
    assert result.content.startswith("hello\n")
    assert result.content.endswith("[exit code 0]")
    assert not result.is_error


def test_a_failing_command_is_an_error_result(call):
    result = call("bash", command="echo no >&2; exit 7")
    assert (result.is_error, result.error_code, result.data["exit_code"]) == (True, "command_failed", 7)
    assert "no\n" in result.content


def test_bash_runs_in_the_workspace(workspace, call):
    (workspace / "sub").mkdir()
    assert f"{workspace}/sub\n" in call("bash", command="pwd", workdir="sub").content


@pytest.mark.parametrize(
    ("workdir", "code"),
    [("../", "path_outside_workspace"), ("nothing", "not_a_folder"), ("/tmp", "path_outside_workspace")],
)
def test_bash_does_not_start_outside(call, workdir, code):
    assert call("bash", command="pwd", workdir=workdir).error_code == code


def test_bash_passes_listed_variables_only(call, monkeypatch):
    monkeypatch.setenv("A_CANARY", "secret-canary")
    monkeypatch.setenv("KHEISH_MASTER_KEY", "secret-canary")
    result = call("bash", command="env")
    assert "PATH=" in result.content
    assert "secret-canary" not in result.content


def test_bash_shows_the_end_of_long_output(call):
    result = call("bash", command="seq 1 100000")
    first, shown = result.content.split("\n", 1)
    hidden = int(first.removeprefix("[the first ").removesuffix(" bytes are not shown]"))
    assert hidden + len(shown.removesuffix("[exit code 0]")) == len(
        "".join(f"{n}\n" for n in range(1, 100_001))
    )
    assert "100000\n[exit code 0]" in result.content
    assert len(result.content) < 70_000


def test_cancelling_the_run_stops_the_command(call, context):
    threading.Timer(0.3, context.cancelled.set).start()
    started = time.monotonic()
    result = call("bash", command="sleep 300")
    assert (result.error_code, context.tasks.reasons) == ("command_stopped", {"task_1": "cancelled"})
    assert time.monotonic() - started < 10


def test_a_command_that_takes_too_long_is_stopped(context, monkeypatch):
    tool = Bash()
    monkeypatch.setattr(tool, "spec", replace(Bash.spec, timeout_seconds=0.3))
    result = tool.run({"command": "echo before; sleep 300"}, context)
    assert (result.is_error, context.tasks.reasons) == (True, {"task_1": "timeout"})
    assert "before" in result.content


def test_a_background_task_is_read_and_stopped(call):
    started = call("bash", command="echo ready; sleep 300", run_in_background=True)
    task_id = started.data["task_id"]
    deadline = time.monotonic() + 5
    running = call("task_output", task_id=task_id, wait=False)
    while "ready" not in running.content and time.monotonic() < deadline:
        running = call("task_output", task_id=task_id, wait=False)
    assert (running.data["retrieval_status"], running.data["status"]) == ("not_ready", "in_progress")
    assert "ready" in running.content
    assert call("task_output", task_id=task_id, timeout_ms=100).data["retrieval_status"] == "timeout"
    assert call("task_stop", task_id=task_id, reason="done").data["status"] == "cancelled"
    assert call("task_stop", task_id=task_id).data["status"] == "cancelled"


def test_success_of_reading_is_not_success_of_the_command(call):
    task_id = call("bash", command="exit 3", run_in_background=True).data["task_id"]
    result = call("task_output", task_id=task_id)
    assert (result.is_error, result.data["retrieval_status"], result.data["status"]) == (
        False,
        "success",
        "failed",
    )
    assert result.data["exit_code"] == 3


@pytest.mark.parametrize("tool", ["task_output", "task_stop"])
def test_unknown_tasks(call, tool):
    assert call(tool, task_id="task_99").error_code == "task_not_found"


def test_commands_longer_than_the_system_takes_are_refused(call):
    assert call("bash", command="é" * 60_000).error_code == "invalid_arguments"
    assert registry.validate(registry.get("bash"), {"command": "x" * 100_001})
