"""Following runs: what is printed where, and with which exit code a command ends."""

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from kheish_site.cli import interrupts, sse
from tests.unit.cli.fake_service import ENDED, TOKEN, Answer, Stream, delta, frame, page

STREAM = "/v1/runs/run_1/stream"
QUEUED = {"run_id": "run_1", "session_id": "demo", "status": "queued", "queued_position": 2}
DONE = {
    "run_id": "run_1",
    "session_id": "demo",
    "status": "completed",
    "step": 3,
    "submitted_at": "2026-01-01T10:00:00Z",
    "finished_at": "2026-01-01T10:00:12Z",
    "usage": {"input_tokens": 12, "output_tokens": 34},
    "outputs": [{"source_kind": "assistant_text", "content": "It was the cache.\x1b[2J", "parts": []}],
}
FAILED = DONE | {"status": "failed", "outputs": [], "error": {"code": "provider_auth", "message": "bad key"}}
WAITING = QUEUED | {
    "status": "waiting_for_approval",
    "pending_approval_ids": ["apr_1"],
    "waiting_for": {"kind": "approval", "ids": ["apr_1"], "summary": "bash"},
}
APPROVAL = {
    "approval_id": "apr_1",
    "tool_name": "bash",
    "input": {"command": "ls\x1b[8m"},
    "status": "pending",
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_PAUSE_SECONDS", 0.02)


def play(service, run, *chunks: bytes) -> None:
    service.on("POST", "/v1/sessions/demo/runs", Answer(202, QUEUED))
    service.on("GET", STREAM, Stream([*chunks, ENDED]))
    service.on("GET", "/v1/runs/run_1", run)
    service.on("GET", "/v1/approvals/apr_1", APPROVAL)


def test_input_answers_at_once(service, kheish) -> None:
    play(service, QUEUED)
    result = kheish("sessions", "input", "demo", "hello", "--model", "m1", "--metadata", "n=1")
    assert (result.code, result.out) == (0, "run_1\n")
    assert "queued, place 2" in result.err
    assert "kheish runs watch run_1" in result.err
    assert service.last().body == {"content": "hello", "model": "m1", "metadata": {"n": 1}}


def test_input_comes_from_a_pipe(service, kheish) -> None:
    play(service, QUEUED)
    assert kheish("runs", "submit", "demo", stdin="from a pipe").code == 0
    assert service.last().body == {"content": "from a pipe"}


@pytest.mark.parametrize(
    "argv", [("sessions", "input", "demo", "  "), ("runs", "create", "demo", "x", "--metadata", "n")]
)
def test_bad_input_is_a_usage_error(kheish, argv) -> None:
    assert kheish(*argv).code == 2


def test_follow_prints_the_timeline_and_the_end(service, kheish) -> None:
    play(service, DONE, frame(1, "run.started"), frame(2, "message.created", role="assistant", content="hi"))
    result = kheish("sessions", "input", "demo", "go", "--follow")
    assert result.code == 0
    assert [line.split("  ", 2)[-1] for line in result.out.splitlines()] == ["started", "assistant: hi"]
    assert "run_1 completed · in 12 s · 3 steps · 12 tokens in, 34 out" in result.err


def test_wait_prints_the_outputs_cleaned(service, kheish) -> None:
    play(service, DONE, frame(1, "run.started"))
    result = kheish("runs", "wait", "run_1")
    assert (result.code, result.out) == (0, "It was the cache.\n")


def test_wait_as_json_is_one_document(service, kheish) -> None:
    play(service, DONE)
    assert json.loads(kheish("sessions", "input", "demo", "go", "--wait", "--json").out) == DONE


def test_a_stream_as_json_is_an_object_a_line(service, kheish) -> None:
    play(service, DONE, frame(1, "run.started"), delta("h"), frame(2, "run.completed"))
    lines = kheish("runs", "watch", "run_1", "--json").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]
    with_deltas = kheish("runs", "stream", "run_1", "--json", "--deltas").out.splitlines()
    assert [json.loads(line).get("text") for line in with_deltas] == [None, "h", None]


def test_deltas_are_shown_live_and_not_twice(service, kheish) -> None:
    message = frame(1, "message.created", role="assistant", content="hello")
    play(service, DONE, delta("hel"), delta("lo"), message)
    result = kheish("runs", "watch", "run_1", tty=True, env={"NO_COLOR": "1"})
    assert result.out.count("hello") == 1


def test_a_lost_delta_is_made_good_by_the_message(service, kheish) -> None:
    message = frame(1, "message.created", role="assistant", content="hello world")
    play(service, DONE, delta("hel"), message)
    assert "assistant: hello world" in kheish("runs", "watch", "run_1", tty=True).out


def test_exit_status_tells_how_the_run_ended(service, kheish) -> None:
    play(service, FAILED)
    assert kheish("runs", "wait", "run_1").code == 0
    result = kheish("runs", "wait", "run_1", "--exit-status")
    assert result.code == 5
    assert "provider_auth: bad key" in result.err


def test_a_waiting_run_says_how_to_answer(service, kheish) -> None:
    play(service, WAITING, frame(1, "run.waiting"))
    result = kheish("runs", "watch", "run_1", "--exit-on-wait")
    assert result.code == 20
    assert 'run_1 waits for approval apr_1: bash {"command": "ls\\u001b[8m"}' in result.err
    assert "Allow:   kheish approvals allow apr_1" in result.err


def test_an_old_wait_in_the_replay_is_passed_over(service, kheish) -> None:
    play(service, DONE, frame(1, "run.waiting"), frame(2, "run.resumed"))
    result = kheish("runs", "watch", "run_1", "--exit-on-wait")
    assert result.code == 0
    assert "approvals allow" not in result.err


def test_a_question_is_announced_with_an_answer(service, kheish) -> None:
    options = [{"id": "eu west", "label": "EU"}, {"id": "us", "label": "US"}]
    question = {"question_id": "qst_1", "questions": [{"id": "q1", "question": "Where?", "options": options}]}
    run = QUEUED | {"status": "waiting_for_user_question", "pending_question_ids": ["qst_1"]}
    play(service, run)
    service.on("GET", "/v1/questions/qst_1", question)
    result = kheish("runs", "get", "run_1")
    assert "an answer to qst_1: Where?" in result.err
    assert "kheish questions answer qst_1 'eu west'" in result.err


def test_a_doubtful_effect_is_announced_with_its_outcomes(service, kheish) -> None:
    play(service, QUEUED | {"status": "waiting_for_operator", "pending_decision_ids": ["dec_1"]})
    service.on("GET", "/v1/decisions/dec_1", {"decision_id": "dec_1", "tool_name": "bash"})
    assert "kheish decisions decide dec_1 happened" in kheish("runs", "get", "run_1").err


def test_a_restart_in_mid_watch_is_one_dim_word(service, kheish) -> None:
    play(service, DONE)
    cut = Stream([frame(1, "run.started")], drop=True)
    service.on("GET", STREAM, [cut, Stream([frame(2, "run.completed"), ENDED])])
    result = kheish("runs", "watch", "run_1", "--json")
    assert [json.loads(line)["seq"] for line in result.out.splitlines()] == [1, 2]
    assert result.err == "reconnecting …\n"


def test_a_timeout_leaves_the_run_alone(service, kheish) -> None:
    play(service, QUEUED)
    service.on("GET", STREAM, lambda seen: Stream([b": quiet\n\n"], drop=True))
    result = kheish("runs", "wait", "run_1", "--timeout", "0.3")
    assert result.code == 3
    assert "timed out; run_1 goes on" in result.err


def test_events_are_one_document(service, kheish) -> None:
    service.on("GET", "/v1/runs/run_1/events", [page({"seq": 1}, next_cursor="x"), page({"seq": 2})])
    document = json.loads(kheish("runs", "events", "run_1", "--json").out)
    assert [item["seq"] for item in document["items"]] == [1, 2]


def test_unknown_kinds_are_shown_by_name(service, kheish) -> None:
    entry = {"seq": 1, "kind": "moon.rose", "at": "2026-01-01T10:00:00Z", "payload": {"phase": "full"}}
    service.on("GET", "/v1/sessions/demo/events", page(entry))
    assert 'moon.rose {"phase": "full"}' in kheish("sessions", "events", "demo").out


def test_the_global_stream_passes_its_filters(service, kheish) -> None:
    service.on("GET", "/v1/events/stream", [Stream([frame(1, "run.started")]), Answer(204)])
    result = kheish("events", "--session-id", "demo", "--cursor", "0")
    assert "demo  started" in result.out
    assert service.seen[0].query == {"session_id": "demo", "cursor": "0"}


def start(
    service, *argv: str, stdout: Any = subprocess.PIPE, closed: int | None = None
) -> subprocess.Popen[bytes]:
    env = os.environ | {"KHEISH_URL": service.url, "KHEISH_TOKEN": TOKEN}
    # A suite started in the background has Ctrl-C ignored, and children inherit that.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; from kheish_site.cli.main import console; raise SystemExit(console())"
    command = [sys.executable, "-c", code, *argv]
    if closed is not None:
        command = ["bash", "-c", f'exec "$@" {closed}>&-', "bash", *command]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=env)


def test_a_closed_pipe_ends_quietly(service) -> None:
    service.on("GET", "/v1/sessions/demo/events", page(*({"seq": n, "kind": "x" * 500} for n in range(2000))))
    process = start(service, "sessions", "events", "demo", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, err = process.communicate(timeout=20)
    assert err == b""


@pytest.mark.parametrize("closed", [1, 2])
def test_a_stream_that_was_closed_before_the_start_says_nothing(service, closed: int) -> None:
    service.on("GET", "/v1/sessions/demo/events", page({"seq": 1, "kind": "x"}))
    process = start(service, "sessions", "events", "demo", "--json", closed=closed)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert bool(out) == (closed != 1)


def test_a_disk_that_is_full_is_said(service) -> None:
    service.on("GET", "/v1/sessions/demo/events", page(*({"seq": n, "kind": "x"} for n in range(9))))
    with open("/dev/full", "wb") as full:
        process = start(service, "sessions", "events", "demo", "--json", stdout=full)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, b"error: cannot go on: No space left on device\n")


def test_a_ctrl_c_that_was_lost_in_an_error_is_heard_at_the_next_try(kheish, service, monkeypatch) -> None:
    asked = threading.Event()
    asked.set()
    monkeypatch.setattr(interrupts, "_asked", asked)
    play(service, QUEUED)
    service.on("GET", STREAM, lambda seen: Stream([frame(1, "run.started")], drop=True))
    result = kheish("runs", "watch", "run_1")
    assert result.code == 130
    assert "kheish runs watch run_1" in result.err


def test_ctrl_c_leaves_the_run_and_says_so(service) -> None:
    play(service, QUEUED)
    service.on("GET", STREAM, lambda seen: Stream([frame(1, "run.started")], drop=True))
    process = start(service, "runs", "watch", "run_1")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"kheish runs watch run_1" in err
