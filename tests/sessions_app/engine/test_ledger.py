"""Every outward call leaves its signed records, also when its worker dies; and none leaves without them."""

import base64
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sessions_app.engine import loop
from sessions_app.models import ActionChain, ExternalAction, OperatorDecision, Run, Session, Step, ToolCall
from sessions_app.services import approvals, decisions, recovery, runs, sessions
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from tests.sessions_app.engine.conftest import ALICE, call, payloads, pending, submit
from tests.support.engine import Died, at_crashpoint, check_ended, check_session, dying_at, expire_lease

pytestmark = pytest.mark.django_db(transaction=True)
Script = Callable[..., Any]
BASH = call("bash", command="echo once > out.txt")


def told(run: Run) -> list[tuple[str, str, str]]:
    rows = ExternalAction.objects.filter(run_id=run.run_id).order_by("seq")
    return list(rows.values_list("phase", "target", "outcome"))


def drive(run: Run, worker: str = "worker-1") -> Run:
    loop.drive(run.session_id, Heartbeat(worker))
    check_session(run.session_id)
    return runs.get(run.run_id)


def approved(run: Run) -> Run:
    """Bring a run to where its only call is approved."""
    run = drive(run)
    for approval in pending(run):
        approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    return run


def crash_at(run: Run, name: str) -> None:
    with dying_at(lambda here: here == name), pytest.raises(Died):
        loop.drive(run.session_id, Heartbeat("doomed"))
    check_session(run.session_id)
    expire_lease(run.session_id)


def test_an_approved_command_leaves_who_asked_who_allowed_and_what_came(
    script: Script, session: Session
) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    (approval_id,) = run.approvals.values_list("approval_id", flat=True)
    run = drive(run)
    assert run.status == "completed"
    assert told(run) == [("started", "bash", ""), ("finished", "bash", "succeeded")]
    made = ToolCall.objects.get(run=run)
    for row in ExternalAction.objects.all():
        assert row.grant_id == f"approval:{approval_id}/alice"
        assert (row.principal_id, row.session_id, row.bucket) == ("alice", "desk", "desk")
        assert (row.tool_call_id, row.request_digest) == (made.call_id, made.digest)
    assert [bool(row.response_digest) for row in ExternalAction.objects.order_by("seq")] == [False, True]


def test_what_stays_inside_leaves_no_record(script: Script, session: Session) -> None:
    script({"tool_calls": [call("list_files", base="."), call("todo_write", todos=[])]}, {"text": "end"})
    assert drive(submit(session)).status == "completed"
    assert not ExternalAction.objects.exists()


def test_a_call_that_reads_the_network_is_recorded_and_names_its_mode(
    script: Script, session: Session
) -> None:
    script({"tool_calls": [call("web_fetch", url="http://127.0.0.1:9/")]}, {"text": "end"})
    run = drive(submit(session))
    (started, finished) = ExternalAction.objects.order_by("seq")
    assert started.grant_id == "permission:default"
    assert finished.outcome.startswith("failed:")
    assert run.status == "completed"


def test_a_denied_call_leaves_no_record(script: Script, session: Session) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = drive(submit(session))
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="deny"), principal=ALICE)
    drive(run)
    assert not ExternalAction.objects.exists()


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        ("happened", [("finished", "bash", "happened")]),
        ("not_happened", [
            ("finished", "bash", "not_happened"), ("started", "bash", ""), ("finished", "bash", "succeeded"),
        ]),
        ("tell_agent", [("finished", "bash", "unknown")]),
        ("give_up", [("finished", "bash", "unknown")]),
    ],
)  # fmt: skip
def test_a_worker_killed_in_a_command_leaves_unknown_and_then_the_operators_word(
    script: Script, session: Session, outcome: str, then: list[tuple[str, str, str]]
) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.started")
    assert told(run) == [("started", "bash", "")]
    run = drive(run, "worker-2")
    doubt = [("started", "bash", ""), ("finished", "bash", "unknown")]
    assert told(run) == doubt
    judgement = decisions.Judgement(outcome=outcome)
    decision = decisions.resolve(run.decisions.get().decision_id, judgement, principal=ALICE)
    drive(run, "worker-2")
    assert told(run) == doubt + then
    word = ExternalAction.objects.get(grant_id=f"decision:{decision.decision_id}")
    assert (word.principal_id, word.seq) == ("alice", 3)


def test_a_worker_killed_after_a_write_finds_what_it_did(script: Script, session: Session) -> None:
    script({"tool_calls": [call("write_file", path="a.txt", content="a")]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.returned")
    drive(run, "worker-2")
    assert told(run) == [("started", "write_file", ""), ("finished", "write_file", "succeeded")]


def test_a_worker_killed_before_a_write_says_so_and_writes(script: Script, session: Session) -> None:
    script({"tool_calls": [call("write_file", path="a.txt", content="a")]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.started")
    drive(run, "worker-2")
    assert [(phase, outcome) for phase, _, outcome in told(run)] == [
        ("started", ""), ("finished", "not_happened"), ("started", ""), ("finished", "succeeded"),
    ]  # fmt: skip


def test_a_run_that_is_cancelled_after_its_worker_died_leaves_unknown(
    script: Script, session: Session
) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.started")
    runs.cancel(run.run_id, principal=ALICE.name, reason="stop")
    assert drive(run, "worker-2").status == "cancelled"
    assert told(run) == [("started", "bash", ""), ("finished", "bash", "unknown")]


def test_no_record_no_action(script: Script, session: Session, settings: Any) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    drive(approved(submit(session)))
    before = ExternalAction.objects.count()
    run = approved(submit(session))
    target = sessions.workspace(session) / "out.txt"
    target.unlink()
    key = settings.KHEISH.audit_signing_key
    settings.KHEISH = replace(settings.KHEISH, audit_signing_key=base64.b64encode(os.urandom(32)).decode())
    loop.drive(run.session_id, Heartbeat("worker-1"))
    settings.KHEISH = replace(settings.KHEISH, audit_signing_key=key)
    check_session(run.session_id)
    run = runs.get(run.run_id)
    assert (run.status, run.error["code"]) == ("failed", "audit_key_missing")
    assert not target.exists()
    assert ExternalAction.objects.count() == before


def test_a_key_that_comes_back_after_many_tries_finds_the_run_where_it_was(
    script: Script, session: Session, settings: Any
) -> None:
    """What a dead worker left started is judged when its end can be recorded, however long that takes."""
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.started")
    whole = settings.KHEISH
    settings.KHEISH = replace(whole, audit_signing_key=base64.b64encode(os.urandom(32)).decode())
    for _ in range(recovery.MAX_LOST_IN_A_ROW + 2):
        expire_lease(session.pk)
        assert not loop.drive(session.pk, Heartbeat("worker-2"))
    settings.KHEISH = whole
    assert drive(run, "worker-3").status == "waiting_for_operator"
    assert runs.get(run.run_id).recovered_count == 1


def test_what_the_model_said_is_kept_though_its_call_gets_no_record(
    script: Script, session: Session, settings: Any
) -> None:
    """A call that reaches out does not start with its plan, even where nobody is asked about it."""
    script({"tool_calls": [BASH]}, {"text": "end"})
    drive(approved(submit(session)))
    fetch = call("web_fetch", url="http://127.0.0.1:9/")
    script({"tool_calls": [fetch], "usage": {"input": 7, "output": 2}})
    whole = settings.KHEISH
    settings.KHEISH = replace(whole, audit_signing_key=base64.b64encode(os.urandom(32)).decode())
    run = submit(session)
    loop.drive(run.session_id, Heartbeat("worker-1"))
    settings.KHEISH = whole
    check_session(run.session_id)
    run = runs.get(run.run_id)
    assert (run.status, run.error["code"], run.input_tokens) == ("failed", "audit_key_missing", 7)
    assert [item["tool_name"] for item in payloads(run, "tool.planned")] == ["web_fetch"]
    assert Step.objects.get(run=run).status == "answered"
    assert (ToolCall.objects.get(run=run).state, payloads(run, "tool.started")) == ("denied", [])


def test_a_ledger_lost_while_a_command_ran_ends_nothing_and_is_told_later(
    script: Script, session: Session, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    whole = settings.KHEISH
    lost = replace(whole, audit_signing_key=base64.b64encode(os.urandom(32)).decode())

    def lose(here: str) -> None:
        if here == "tool.returned":
            settings.KHEISH = lost

    monkeypatch.setattr("sessions_app.engine.execute.crashpoint", lose)
    with pytest.raises(Exception, match="another key"):
        loop.drive(run.session_id, Heartbeat("worker-1"))
    settings.KHEISH = whole
    assert runs.get(run.run_id).status == "running"
    expire_lease(run.session_id)
    assert drive(run, "worker-2").status == "waiting_for_operator"
    assert told(run) == [("started", "bash", ""), ("finished", "bash", "unknown")]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_whose_records_cannot_go_on_ends_and_can_be_stopped(
    script: Script, session: Session, stopped: bool
) -> None:
    """It had been taken over for ever, with an entry each time, and no request to stop could end it."""
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.started")
    ActionChain.objects.update(count=0, head="0" * 64)
    if stopped:
        runs.cancel(run.run_id, principal=ALICE.name, reason="stop")
    loop.drive(session.pk, Heartbeat("worker-2"))
    check_unrecorded(run, "cancelled" if stopped else "failed")


def test_a_run_that_was_handed_on_and_whose_records_cannot_go_on_can_be_cancelled(
    script: Script, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.started")
    leaving = Heartbeat("worker-2")
    at_crashpoint(monkeypatch, "claimed", leaving.draining.set)
    loop.drive(session.pk, leaving)
    assert runs.get(run.run_id).status == "queued"
    ActionChain.objects.update(count=0, head="0" * 64)
    assert runs.cancel(run.run_id, principal=ALICE.name, reason="stop").status == "cancelled"
    check_unrecorded(run, "cancelled")


def test_records_that_are_written_over_while_a_command_runs_end_its_run(
    script: Script, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    write_over = ActionChain.objects.all()
    at_crashpoint(monkeypatch, "tool.returned", lambda: write_over.update(count=0, head="0" * 64))
    loop.drive(session.pk, Heartbeat("worker-1"))
    check_unrecorded(run, "failed")


@pytest.mark.parametrize("outcome", ["give_up", "happened"])
def test_an_unknown_call_whose_records_cannot_go_on_is_decided(
    script: Script, session: Session, outcome: str
) -> None:
    """A person knows what the records cannot say any more; nothing leaves without one all the same."""
    script({"tool_calls": [BASH]}, {"text": "end"})
    run = approved(submit(session))
    crash_at(run, "tool.started")
    assert drive(run, "worker-2").status == "waiting_for_operator"
    ActionChain.objects.update(count=0, head="0" * 64)
    judgement = decisions.Judgement(outcome=outcome, note="seen", result="it did")
    decisions.resolve(OperatorDecision.objects.get(run=run).decision_id, judgement, principal=ALICE)
    if outcome == "happened":
        loop.drive(session.pk, Heartbeat("worker-3"))
    assert runs.get(run.run_id).status == {"give_up": "failed", "happened": "completed"}[outcome]
    assert payloads(run, "decision.made")[0]["principal"] == ALICE.name
    assert told(run) == [("started", "bash", ""), ("finished", "bash", "unknown")]


def check_unrecorded(run: Run, status: str) -> None:
    """It has ended and left nothing open; no record continues the chain, and nothing looks for it again."""
    run = runs.get(run.run_id)
    assert run.status == status
    assert run.error.get("code", "") == ("audit_chain_broken" if status == "failed" else "")
    check_ended(run)
    assert ToolCall.objects.get(run=run).state == "unknown" and len(payloads(run, "tool.unknown")) == 1
    assert told(run) == [("started", "bash", "")]
    assert Session.objects.get(pk=run.session_id).lease_owner == "" and recovery.due_sessions() == []
