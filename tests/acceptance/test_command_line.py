"""The command line as a person or a script uses it: what it prints, and the exit codes it ends with."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kheish_site.cli.exits import Exit
from tests.support.service import ROOT, Deployment
from tests.support.service_api import Api, call
from tests.support.service_process import clean_environment, until

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]

ASKED = {
    "id": "q",
    "question": "Which?",
    "options": [{"id": "a", "label": "One"}, {"id": "b", "label": "Two"}],
}


class Kheish:
    """`manage.py NOUN VERB` in a terminal of its own, where the state folder is known and nothing else."""

    def __init__(self, deployment: Deployment, home: Path) -> None:
        self._told = {
            "KHEISH_URL": deployment.url,
            "KHEISH_STATE_DIR": str(deployment.state_dir),
            "HOME": str(home),
        }

    def __call__(self, *words: str, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *words],
            env=clean_environment(self._told | environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == expect, (words, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").stdout)


@pytest.fixture
def kheish(shared: Deployment, tmp_path: Path) -> Kheish:
    return Kheish(shared, tmp_path)


def test_the_first_five_minutes(kheish: Kheish):
    assert "demo" in kheish("sessions", "create", "demo").stdout
    watched = kheish(
        "sessions", "input", "demo", "Look around", "--follow", "--exit-on-wait", expect=Exit.WAITS_FOR_PERSON
    )
    assert "approvals allow apr_" in watched.stderr and "todo_write" in watched.stdout + watched.stderr
    (approval,) = kheish.json("approvals", "list")["items"]
    run_id, approval_id = approval["run_id"], approval["approval_id"]
    kheish("runs", "wait", run_id, "--timeout", "0.3", expect=Exit.TIMED_OUT)
    assert approval_id in kheish("runs", "get", run_id).stderr
    assert "allowed" in kheish("approvals", "allow", approval_id, "--justification", "harmless").stdout
    assert "kheish was here" in kheish("runs", "wait", run_id, "--timeout", "30").stdout
    assert "completed" in kheish("runs", "list").stdout
    kheish("approvals", "allow", approval_id)  # the same word again
    other = kheish("approvals", "deny", approval_id, expect=Exit.CONFLICT)
    assert "local" in other.stderr or "allowed" in other.stderr
    assert "whole" in kheish("sessions", "verify", "demo").stdout
    kinds = [entry["kind"] for entry in kheish.json("sessions", "events", "demo")["items"]]
    assert kinds[0] == "session.created" and kinds[-1] == "run.completed"
    assert "run.completed" in kheish("runs", "events", run_id, "--kind", "run.completed", "--json").stdout


def test_edits_denials_and_runs_that_end_badly(kheish: Kheish, api: Api):
    route = api.script(
        {"tool_calls": [call("bash", command="echo first")]}, {"text": "it said {{ last_result }}"}
    )
    session = api.session()
    first = kheish("runs", "create", session, "go", "--route", route, "--quiet").stdout.strip()
    api.until(first, "waiting_for_approval")
    approval = api.pending("approvals", first)["approval_id"]
    kheish("approvals", "allow", approval, "--set", 'command="echo second"', "--yes")
    assert "second" in kheish("runs", "wait", first).stdout
    second = kheish("runs", "create", session, "go", "--route", route, "--quiet").stdout.strip()
    api.until(second, "waiting_for_approval")
    kheish("approvals", "deny-all", "--run-id", second, "--reason", "not today", "--yes")
    assert "not today" in kheish("runs", "wait", second, "--exit-status").stdout
    failing = api.script({"fault": {"kind": "invalid", "times": None, "message": "no such model"}})
    words = ("runs", "create", session, "go", "--route", failing, "--wait", "--exit-status")
    assert "no such model" in kheish(*words, expect=Exit.RUN_ENDED_BADLY).stderr


def test_questions_are_answered_and_declined(kheish: Kheish, api: Api):
    turn = {"tool_calls": [call("ask_user_question", questions=[ASKED])]}
    for verb, more, said in (("answer", ["b"], "Two"), ("decline", [], "declined")):
        _, run_id = api.start(turn, {"text": "heard {{ last_result }}"})
        api.until(run_id, "waiting_for_user_question")
        question = api.pending("questions", run_id)["question_id"]
        assert question in kheish("questions", "list").stdout
        kheish("questions", verb, question, *more)
        assert said in kheish("runs", "wait", run_id, "--timeout", "30").stdout


def test_tasks_and_decisions_after_a_worker_died(shared: Deployment, kheish: Kheish, api: Api):
    background = call("bash", command="echo working; exec sleep 300", run_in_background=True)
    session, run_id = api.start({"tool_calls": [background]}, {"text": "left it running"})
    api.allow(run_id)
    kheish("runs", "wait", run_id, "--exit-status", "--timeout", "30")
    (task,) = kheish.json("tasks", "list", session)["items"]
    until(lambda: kheish("tasks", "output", session, task["task_id"]).stdout, 10, lambda: "no output")
    kheish("tasks", "stop", session, task["task_id"], "--reason", "enough")
    kheish("tasks", "output", session, task["task_id"], "--wait", "--timeout", "20")
    assert kheish.json("tasks", "get", session, task["task_id"])["status"] == "cancelled"

    doubtful, lost = api.start({"tool_calls": [call("bash", command="exec sleep 300")]}, {"text": "told"})
    api.allow(lost)
    api.until_kind(lost, "task.started")
    shared.kill_workers()
    shared.revive()
    api.until(lost, "waiting_for_operator")
    (decision,) = kheish.json("decisions", "list", "--session-id", doubtful)["items"]
    kheish("decisions", "decide", decision["decision_id"], "tell_agent", "--note", "it was asleep")
    assert "told" in kheish("runs", "wait", lost, "--exit-status", "--timeout", "30").stdout
    kheish("decisions", "decide", decision["decision_id"], "happened", expect=Exit.CONFLICT)


def test_misuse_and_absence_have_codes_of_their_own(kheish: Kheish, tmp_path: Path):
    kheish("runs", "get", "run_none", expect=Exit.FAILED)
    kheish("sessions", "input", "demo", expect=Exit.USAGE)
    kheish("approvals", "frobnicate", expect=Exit.USAGE)
    stranger = kheish("sessions", "list", expect=Exit.NOT_ALLOWED, KHEISH_TOKEN="kh_" + "x" * 40)
    assert "token" in stranger.stderr.lower()
    nobody = kheish("sessions", "list", expect=Exit.NO_SERVICE, KHEISH_URL="http://127.0.0.1:9")
    assert "manage.py serve" in nobody.stderr
    assert "127.0.0.1" in kheish("status").stdout + kheish("status").stderr
    kheish("doctor")
