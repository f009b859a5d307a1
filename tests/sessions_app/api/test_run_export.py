"""A run as one document: all of it, checked by its own means, and unmasked only for those who may look."""

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from kheish_site.cli import run_export
from kheish_site.cli.main import main
from kheish_site.lib.redaction import MASK
from kheish_site.lib.transactions import write
from sessions_app.models import Approval, AuditEntry, Run, RunStatus, ToolCall
from sessions_app.services import approvals, decisions, external_actions, questions, run_state
from sessions_app.services.approvals import Vote
from sessions_app.services.decisions import Judgement
from sessions_app.services.questions import Resolution
from tests.factories import code_of, make_client
from tests.sessions_app.api.rows import (
    ALICE,
    ask_approvals,
    ask_decision,
    ask_question,
    make_run,
    make_session,
    make_task,
    move,
    record_action,
)

pytestmark = pytest.mark.django_db

SECRET = "Bearer abcdef0123456789"


def exported(run: Run, role: str = "viewer", query: str = "") -> dict[str, Any]:
    answer = make_client(role).get(f"/v1/runs/{run.run_id}/export{query}")
    assert answer.status_code == 200, answer
    assert answer["Content-Type"] == "application/json"
    found: dict[str, Any] = json.loads(b"".join(answer.streaming_content))
    return found


def story() -> Run:
    """A run with an approval and actions, in a session where another run came before and one after it."""
    session = make_session()
    before = move(make_run(session), RunStatus.RUNNING, RunStatus.COMPLETED)
    record_action(before)
    run, (approval,) = ask_approvals(session)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    record_action(run)
    make_task(run, "text")
    make_run(session)
    return run


def problems(document: dict[str, Any], key: str = "") -> list[str]:
    found = run_export.verify(document, key or external_actions.public_key())
    return [f"{item['place']}: {item['problem']}" for item in found["problems"]]


def test_it_holds_the_run_and_what_belongs_to_it() -> None:
    run = story()
    document = exported(run)
    assert document["type"] == run_export.TYPE
    assert (document["run"]["run_id"], document["redacted"]) == (run.run_id, True)
    own = [entry for entry in document["journal"]["entries"] if "kind" in entry]
    assert {entry["run_id"] for entry in own} == {run.run_id}
    assert own[0]["kind"] == "run.accepted"
    assert [call["tool_name"] for call in document["tool_calls"]] == ["bash", "bash"]
    assert document["approvals"][0]["status"] == "allowed"
    assert (len(document["tasks"]), len(document["steps"])) == (1, 1)
    assert document["deliveries"] == document["events"] == []
    assert len(document["external_actions"]["records"]) == 4


def test_questions_and_decisions_are_in_it() -> None:
    run, question = ask_question(make_session())
    assert [item["question_id"] for item in exported(run)["questions"]] == [question.question_id]
    run, decision = ask_decision(make_session("other"))
    assert [item["decision_id"] for item in exported(run)["decisions"]] == [decision.decision_id]


def test_it_verifies_by_itself() -> None:
    document = exported(story())
    found = run_export.verify(document, external_actions.public_key())
    assert found["problems"] == []
    assert (found["valid"], found["records"]) == (True, 4)
    assert found["journal"]["head"] == document["journal"]["head"]


def change(document: dict[str, Any], what: str) -> None:
    entries, held = document["journal"]["entries"], document["external_actions"]
    own = next(entry for entry in entries if entry.get("kind") == "approval.allowed")
    match what:
        case "payload":
            own["payload"]["principal"] = "mallory"
        case "order":
            entries[0], entries[1] = entries[1], entries[0]
        case "gone":
            entries.remove(own)
        case "tail":
            entries.pop()
        case "link":
            entries[0]["digest"] = "0" * 64
        case "record":
            held["records"][0]["target"] = "true"
        case "records":
            held["records"].pop()
        case "checkpoint":
            held["checkpoint"]["count"] = 3
        case "call":
            held["records"][2]["tool_call_id"] = "call_other"
        case "stranger":
            document["run"]["run_id"] = "run_other"
        case "version":
            document["version"] = 9
        case "status":
            document["run"]["status"] = "completed"
        case "masked status":
            document["run"]["status"] = MASK
        case "error":
            document["run"]["error"] = {"code": "auth", "message": "no"}
        case "masked voter":
            document["approvals"][0]["votes"][0]["principal"] = MASK
        case "asker":
            document["run"]["request"]["requested_by"] = "mallory"
        case "voter":
            document["approvals"][0]["votes"][0]["principal"] = "mallory"
        case "vote":
            document["approvals"][0]["votes"].pop()
        case "decision":
            document["approvals"][0]["decision"]["principal"] = "mallory"
        case "approval":
            document["approvals"].pop()
        case "more approvals":
            document["approvals"].append({"approval_id": "apr_other"})
        case "no list":
            document["questions"] = None
        case "member":
            del document["journal"]["head"]


@pytest.mark.parametrize(
    "what",
    [
        "payload", "order", "gone", "tail", "link", "record", "records", "checkpoint", "call", "stranger",
        "version", "member", "status", "asker", "voter", "vote", "decision", "approval", "more approvals",
        "no list", "masked status", "masked voter", "error",
    ],
)  # fmt: skip
def test_a_change_is_found(what: str) -> None:
    document = exported(story())
    change(document, what)
    assert problems(document)


def test_answers_and_decisions_are_compared_with_the_journal() -> None:
    run, question = ask_question(make_session())
    answer = Resolution(answers=[{"question_id": "where", "selected_option_ids": ["s"]}])
    questions.resolve(question.question_id, answer, principal=ALICE)
    document = exported(run)
    assert problems(document) == []
    document["questions"][0]["resolved_by"] = "mallory"
    assert problems(document) == [
        f"question {question.question_id}: resolved_by is not what the journal says"
    ]
    run, decision = ask_decision(make_session("other"))
    decisions.resolve(decision.decision_id, Judgement(outcome="happened", note="seen"), principal=ALICE)
    document = exported(run)
    assert problems(document) == []
    document["decisions"][0]["outcome"] = "not_happened"
    assert problems(document) == [f"decision {decision.decision_id}: outcome is not what the journal says"]


def test_votes_of_an_edited_call_are_compared_with_the_journal() -> None:
    run, (approval,) = ask_approvals(make_session())
    Approval.objects.update(required_votes=2)
    for vote, who in (
        (Vote(behavior="allow"), ALICE),
        (Vote(behavior="allow", updated_input={"command": "make test"}), replace(ALICE, name="bob")),
        (Vote(behavior="deny", reason="no"), replace(ALICE, name="carol")),
    ):
        approvals.resolve(approval.approval_id, vote, principal=who)
    document = exported(run)
    assert [vote["voided"] for vote in document["approvals"][0]["votes"]] == [True, False, False]
    told = [line for line in problems(document) if "required_votes" not in line]  # changed above, unsaid
    assert told == []
    document["approvals"][0]["votes"][0]["voided"] = False
    assert "votes is not what the journal says" in problems(document)[-1]


def test_an_answer_is_compared_with_the_journal() -> None:
    run = make_run(make_session())
    said = [{"content": "it was Bearer abcdef0123456789", "parts": []}]
    move(run, RunStatus.RUNNING)
    with write():
        fields, session_id = {"outputs": said}, run.session.session_id
        run_state.transition(run, RunStatus.COMPLETED, session_id=session_id, payload=fields, fields=fields)
    document = exported(run)
    assert problems(document) == []
    for text, is_told in ((MASK, False), (f"it was Bearer {MASK}", False), (f"we hope {MASK}", True)):
        document["run"]["outputs"][0]["content"] = text
        assert bool(problems(document)) == is_told, text
    document = exported(run)
    document["run"]["outputs"].append({"content": "and more"})
    assert problems(document) == ["run: outputs is not what the journal says"]


def test_another_key_proves_nothing() -> None:
    assert "signed by another key" in problems(exported(story()), "0" * 64)[0]


def test_what_is_masked_stays_masked_without_the_right() -> None:
    run = story()
    ToolCall.objects.filter(run=run).update(arguments={"command": f"curl -H '{SECRET}'"})
    for role in ("viewer", "admin"):
        assert SECRET not in json.dumps(exported(run, role))
    answer = make_client("operator", rights=()).get(f"/v1/runs/{run.run_id}/export?unredacted=true")
    assert (answer.status_code, code_of(answer)) == (403, "right_missing")
    assert not AuditEntry.objects.filter(object_kind="run").exists()


def test_an_unmasked_look_is_recorded_and_still_verifies() -> None:
    run = story()
    ToolCall.objects.filter(run=run).update(arguments={"command": f"curl -H '{SECRET}'"})
    document = exported(run, "admin", "?unredacted=true&reason=incident+4821")
    assert SECRET in document["tool_calls"][0]["input"]["command"]
    assert document["redacted"] is False
    assert problems(document) == []
    entry = AuditEntry.objects.get(object_kind="run")
    assert (entry.action, entry.object_id) == ("run.exported_unredacted", run.run_id)
    assert (entry.principal[:5], entry.auth_method, entry.reason) == ("admin", "token", "incident 4821")
    assert entry.request_id.startswith("req_")


def test_no_such_run_is_a_problem_and_no_stream() -> None:
    assert code_of(make_client("viewer").get("/v1/runs/run_none/export")) == "run_not_found"


def test_the_cost_does_not_grow_with_the_run() -> None:
    costs, client = [], make_client("viewer")
    client.get("/v1/runs/none")
    for number in (1, 6):
        run, _ = ask_approvals(make_session(f"s-{number}"), number)
        for _ in range(number):
            record_action(run)
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(f"/v1/runs/{run.run_id}/export")
            b"".join(answer.streaming_content)
        costs.append(len(captured))
    assert costs == [18, 18]


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_line_checks_a_file(tmp_path: Path, broken: bool) -> None:
    run = story()
    answer = make_client("viewer").get(f"/v1/runs/{run.run_id}/export")
    content = b"".join(answer.streaming_content)
    file = tmp_path / "run.json"
    file.write_bytes(content.replace(b"make deploy-0", b"make deploy-9") if broken else content)
    out, err = io.StringIO(), io.StringIO()
    argv = ["audit", "verify", str(file), "--public-key", external_actions.public_key()]
    assert main(argv, stdout=out, stderr=err, environ={}) == (1 if broken else 0), err.getvalue()
    assert ("the entry was changed" if broken else "4 signed records, whole") in out.getvalue()
    assert ("Not compared with it: what the run was given" in out.getvalue()) is not broken


def test_a_file_that_was_cut_is_not_read(tmp_path: Path) -> None:
    run = story()
    content = b"".join(make_client("viewer").get(f"/v1/runs/{run.run_id}/export").streaming_content)
    file = tmp_path / "run.json"
    file.write_bytes(content[: len(content) // 2])
    err = io.StringIO()
    argv = ["audit", "verify", str(file), "--public-key", external_actions.public_key()]
    assert main(argv, stdout=io.StringIO(), stderr=err, environ={}) == 2
    assert "is not whole" in err.getvalue()


@pytest.mark.django_db(transaction=True)
def test_it_streams_under_an_event_loop() -> None:
    run = story()
    client = make_client("viewer")
    headers = {"Authorization": client._credentials["HTTP_AUTHORIZATION"]}

    async def read() -> bytes:
        answer = await AsyncClient().get(f"/v1/runs/{run.run_id}/export", headers=headers)
        pieces = [piece async for piece in answer]
        await sync_to_async(lambda: connection.close())()
        return b"".join(pieces)

    assert json.loads(asyncio.run(read()))["run"]["run_id"] == run.run_id
