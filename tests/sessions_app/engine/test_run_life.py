"""The life of a run, driven for real in this process: model, tools, approvals, ends."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet

from sessions_app.engine import loop
from sessions_app.engine.model_call import ATTEMPTS
from sessions_app.models import ApprovalStatus, Run, SecretSlot, Session, Step, ToolCall, UserQuestion
from sessions_app.services import approvals, decisions, journal, questions, runs, sessions
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from tests.factories import make_secret
from tests.sessions_app.engine.conftest import ALICE, BOB, call, kinds, payloads, pending, submit
from tests.support.engine import Died, at_crashpoint, dying_at

pytestmark = pytest.mark.django_db(transaction=True)
Script = Callable[..., Any]


def finish(run: Run, heartbeat: Heartbeat) -> Run:
    loop.drive(run.session_id, heartbeat)
    return runs.get(run.run_id)


def test_a_trivial_run(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    script({"text": "hello there", "usage": {"input": 7, "output": 2}})
    run = finish(submit(session, "hi"), heartbeat)
    assert (run.status, run.step, run.input_tokens, run.output_tokens) == ("completed", 1, 7, 2)
    assert run.outputs == [{"source_kind": "assistant_text", "content": "hello there", "parts": []}]
    assert kinds(run) == [
        "run.accepted",
        "run.queued",
        "run.started",
        "message.created",
        "message.created",
        "run.completed",
    ]
    session.refresh_from_db()
    assert (session.lease_owner, session.queued_runs, session.blocked) == ("", 0, False)
    assert journal.verify(session).whole
    step = Step.objects.get(run=run)
    assert (step.status, step.attempt, step.route_id) == ("answered", 1, "scripted")


def test_runs_of_a_session_go_in_order(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    script({"text": "done {{ input }}"})
    submitted = [submit(session, f"n{number}") for number in range(4)]
    loop.drive(session.pk, heartbeat)
    ended = [runs.get(run.run_id) for run in submitted]
    assert [run.status for run in ended] == ["completed"] * 4
    assert [run.outputs[0]["content"] for run in ended] == [f"done n{number}" for number in range(4)]
    finished = [run.finished_at for run in ended if run.finished_at]
    assert finished == sorted(finished) and len(finished) == 4


def test_tools_run_and_their_results_reach_the_model(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    folder = sessions.workspace(session)
    (folder / "a.txt").write_text("alpha")
    (folder / "b.txt").write_text("beta")
    script(
        {"text": "look", "tool_calls": [call("read_file", path="a.txt"), call("read_file", path="b.txt")]},
        {"text": "read {{ last_result }}"},
    )
    run = finish(submit(session), heartbeat)
    assert run.status == "completed", run.error
    assert "beta" in run.outputs[0]["content"]
    assert [item["state"] for item in payloads(run, "tool.returned")] == ["succeeded", "succeeded"]
    assert kinds(run).count("tool.planned") == 2
    first, second = Step.objects.filter(run=run).order_by("number")
    assert first.finished_at is not None and first.finished_at <= second.started_at
    for made in ToolCall.objects.filter(run=run):
        assert made.finished_at is not None and made.finished_at <= second.started_at


def test_a_folder_that_cannot_be_made_is_an_error_of_the_calls(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    folder = sessions.workspace(session)
    folder.rmdir()
    folder.write_text("in the way")
    calls = [call("list_files"), call("write_file", path="a.txt", content="a")]
    script({"tool_calls": calls}, {"text": "{{ last_result }}"})
    run = finish(submit(session), heartbeat)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    run = finish(run, heartbeat)
    codes = [item["error_code"] for item in payloads(run, "tool.returned")]
    assert codes == ["workspace_unavailable"] * 2
    assert run.status == "completed" and "the workspace: File exists" in run.outputs[0]["content"]


def test_calls_start_with_the_commit_that_plans_them(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"tool_calls": [call("list_files"), call("no_such_tool")]}, {"text": "done"})
    run = submit(session)
    with pytest.raises(Died), dying_at(lambda here: here == "tool.started"):
        loop.drive(session.pk, heartbeat)
    states = list(ToolCall.objects.filter(run=run).order_by("index").values_list("state", "attempt"))
    assert states == [("started", 1), ("failed", 0)]
    assert kinds(run)[-4:] == ["tool.planned", "tool.planned", "tool.returned", "tool.started"]


def test_a_drain_between_two_calls_leaves_the_second_to_the_next_worker(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [call("emit_output", content=text) for text in ("one", "two")]
    script({"tool_calls": outputs}, {"text": "done"})
    run = submit(session)
    at_crashpoint(monkeypatch, "tool.returned", heartbeat.draining.set)
    run = finish(run, heartbeat)
    states = ToolCall.objects.filter(run=run).order_by("index").values_list("state", flat=True)
    assert (run.status, list(states)) == ("queued", ["succeeded", "planned"])
    run = finish(run, Heartbeat("worker-2"))
    assert run.status == "completed"
    assert [output["content"] for output in run.outputs] == ["one", "two", "done"]


@pytest.mark.parametrize("cause", ["cancelled", "draining"])
def test_a_call_does_not_start_when_the_run_should_stop(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    """Asked for during the model call, whose answer is kept with its plan."""
    script({"tool_calls": [call("list_files")]}, {"text": "done"})
    run = submit(session)
    stop = {
        "cancelled": lambda: runs.cancel(run.run_id, principal="bob"),
        "draining": heartbeat.draining.set,
    }[cause]
    at_crashpoint(monkeypatch, "model.after", stop)
    run = finish(run, heartbeat)
    assert run.status == ("cancelled" if cause == "cancelled" else "queued")
    assert "tool.started" not in kinds(run) and kinds(run).count("tool.planned") == 1


def test_an_asked_call_waits_and_runs_once_as_edited(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script(
        {"tool_calls": [call("bash", command="echo original >> log.txt")]},
        {"text": "said {{ last_result }}"},
    )
    run = finish(submit(session), heartbeat)
    assert run.status == "waiting_for_approval"
    session.refresh_from_db()
    assert (session.lease_owner, session.blocked) == ("", True)
    (approval,) = pending(run)
    assert approval.arguments == {"command": "echo original >> log.txt"}
    edited = {"command": "echo edited >> log.txt && cat log.txt"}
    done = approvals.resolve(
        approval.approval_id,
        Vote(behavior="allow", updated_input=edited, justification="ok"),
        principal=ALICE,
    )
    assert (done.status, done.decision["edited"]) == ("allowed", True)
    assert (runs.get(run.run_id).status, runs.get(run.run_id).kind) == ("queued", "approval_resume")
    run = finish(run, heartbeat)
    assert run.status == "completed", run.error
    assert (sessions.workspace(session) / "log.txt").read_text() == "edited\n"
    assert "run.resumed" in kinds(run)
    assert kinds(run).count("tool.started") == 1


def test_the_same_decision_is_accepted_and_another_is_refused_with_the_winner(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"tool_calls": [call("bash", command="true")]}, {"text": "end"})
    (approval,) = pending(finish(submit(session), heartbeat))
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=BOB)
    with pytest.raises(approvals.ApprovalConflict) as refused:
        approvals.resolve(approval.approval_id, Vote(behavior="deny"), principal=BOB)
    assert refused.value.extra["decision"]["principal"] == "alice"


def test_a_denied_call_tells_the_agent_why(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    script({"tool_calls": [call("bash", command="rm -rf x")]}, {"text": "heard: {{ last_result }}"})
    run = finish(submit(session), heartbeat)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="deny", reason="not on Friday"), principal=ALICE)
    run = finish(run, heartbeat)
    assert run.status == "completed"
    assert "not on Friday" in run.outputs[0]["content"]
    assert ToolCall.objects.get(run=run).state == "denied"


def test_a_batch_suspends_together_and_nothing_runs_before_all_is_decided(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script(
        {
            "tool_calls": [
                call("write_file", path="one.txt", content="1"),
                call("list_files", base="."),
                call("bash", command="echo two > two.txt"),
            ]
        },
        {"text": "done"},
    )
    run = finish(submit(session), heartbeat)
    first, second = pending(run)
    folder = sessions.workspace(session)
    approvals.resolve(first.approval_id, Vote(behavior="allow"), principal=ALICE)
    assert runs.get(run.run_id).status == "waiting_for_approval"
    loop.drive(session.pk, heartbeat)
    assert not (folder / "one.txt").exists()
    approvals.resolve(second.approval_id, Vote(behavior="allow"), principal=ALICE)
    run = finish(run, heartbeat)
    assert run.status == "completed", run.error
    assert (folder / "one.txt").read_text() == "1" and (folder / "two.txt").read_text() == "two\n"
    assert kinds(run).count("approval.requested") == 2


def test_two_votes_are_needed_and_an_edit_voids_them(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    rule = {"tool_name_pattern": "bash", "behavior": "ask", "required_votes": 2}
    sessions.set_permission_rules(session.session_id, [rule], principal="alice")
    script({"tool_calls": [call("bash", command="echo a")]}, {"text": "end"})
    run = finish(submit(session), heartbeat)
    (approval,) = pending(run)
    once = approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    assert once.status == ApprovalStatus.PENDING
    again = approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    assert again.status == ApprovalStatus.PENDING
    changed = approvals.resolve(
        approval.approval_id, Vote(behavior="allow", updated_input={"command": "echo b"}), principal=BOB
    )
    assert changed.status == ApprovalStatus.PENDING
    seen = Vote(behavior="allow", digest=changed.digest)
    done = approvals.resolve(approval.approval_id, seen, principal=ALICE)
    assert done.status == ApprovalStatus.ALLOWED
    assert done.votes.filter(voided_at=None).count() == 2


def test_a_question_waits_and_its_answer_reaches_the_model(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    asked = {
        "id": "q1",
        "header": "Where",
        "question": "Which one?",
        "options": [{"id": "a", "label": "Staging"}, {"id": "b", "label": "Production"}],
        "multi_select": False,
    }
    script({"tool_calls": [call("ask_user_question", questions=[asked])]}, {"text": "got {{ last_result }}"})
    run = finish(submit(session), heartbeat)
    assert run.status == "waiting_for_user_question"
    question = UserQuestion.objects.get(run=run)
    answer = {"question_id": "q1", "selected_option_ids": ["a"]}
    questions.resolve(question.question_id, questions.Resolution(answers=[answer]), principal=ALICE)
    run = finish(run, heartbeat)
    assert run.status == "completed" and "Staging" in run.outputs[0]["content"]
    assert (run.kind, run.source_kind) == ("user_question_resume", "api")


def test_questions_no_schema_can_refuse_come_back_as_an_error(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    same = {"question": "Which one?", "options": [{"label": "Staging"}, {"label": "staging"}]}
    script({"tool_calls": [call("ask_user_question", questions=[same])]}, {"text": "ok"})
    run = finish(submit(session), heartbeat)
    assert run.status == "completed", run.error
    assert payloads(run, "tool.returned")[0]["error_code"] == "arguments_invalid"


def test_a_turn_ceiling_ends_a_loop(
    script: Script, session: Session, heartbeat: Heartbeat, settings: Any
) -> None:
    from dataclasses import replace

    settings.KHEISH = replace(settings.KHEISH, max_turns=3)
    script(*({"tool_calls": [call("list_files", base=".", limit=n + 1)]} for n in range(6)))
    run = finish(submit(session), heartbeat)
    assert (run.status, run.error["code"], run.step) == ("failed", "turn_limit", 3)


def test_bad_calls_come_back_as_errors(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    script(
        {"tool_calls": [call("no_such_tool"), call("read_file", nonsense=1), call("read_file", path="../x")]},
        {"text": "ok"},
    )
    run = finish(submit(session), heartbeat)
    assert run.status == "completed", run.error
    codes = [item.get("error_code") for item in payloads(run, "tool.returned")]
    assert codes[:2] == ["tool_unknown", "arguments_invalid"] and codes[2]


def test_a_cancelled_queued_run_never_starts(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    script({"text": "x"})
    first, second = submit(session), submit(session)
    runs.cancel(second.run_id, principal="alice")
    runs.cancel(second.run_id, principal="alice")
    loop.drive(session.pk, heartbeat)
    assert runs.get(first.run_id).status == "completed"
    assert kinds(second).count("run.cancelled") == 1 and "run.started" not in kinds(second)
    with pytest.raises(runs.RunStateConflict):
        runs.cancel(first.run_id, principal="alice")


def test_cancelling_a_waiting_run_closes_what_it_waits_for(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"tool_calls": [call("bash", command="true")]}, {"text": "end"})
    run = finish(submit(session), heartbeat)
    following = submit(session, "second")
    (approval,) = pending(run)
    assert runs.cancel(run.run_id, principal="alice").status == "cancelled"
    approval.refresh_from_db()
    assert approval.status == "cancelled"
    loop.drive(session.pk, heartbeat)
    assert runs.get(following.run_id).status == "waiting_for_approval"


def test_an_interrupted_waiting_run_is_interrupted(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"tool_calls": [call("bash", command="true")]}, {"text": "end"})
    run = finish(submit(session), heartbeat)
    runs.interrupt(session.session_id, principal="alice")
    assert runs.get(run.run_id).status == "interrupted"
    assert runs.interrupt(session.session_id, principal="alice") is None


def test_a_fallback_route_takes_over_and_the_switch_is_journalled(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions_app.providers.retry.FIRST_DELAY_SECONDS", 0.001)
    script({"text": "from the second"}, route_id="second", default=False)
    first = script({"fault": {"kind": "overloaded", "times": 99}}, route_id="first")
    first.fallbacks = ["second"]
    first.save()
    run = finish(submit(session), heartbeat)
    assert run.status == "completed" and run.outputs[0]["content"] == "from the second"
    assert payloads(run, "model.switched")[0]["to"] == "second"
    step = Step.objects.get(run=run)
    assert step.route_id == "second"
    assert step.provider_request_id.endswith(f"-{ATTEMPTS + 1}")  # no number twice: live text goes by it


def test_a_fallback_that_cannot_be_called_is_passed_over(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions_app.providers.retry.FIRST_DELAY_SECONDS", 0.001)
    script({"text": "from the third"}, route_id="third", default=False)
    keyless = script({"text": "never"}, route_id="second", default=False)
    keyless.auth_ref = "gone"
    keyless.save()
    first = script({"fault": {"kind": "overloaded", "times": 99}}, route_id="first")
    first.fallbacks = ["second", "third"]
    first.save()
    run = finish(submit(session), heartbeat)
    assert (run.status, run.outputs[0]["content"]) == ("completed", "from the third")
    assert [said["to"] for said in payloads(run, "model.switched")] == ["third"]


def test_a_run_whose_route_vanished_fails_and_is_not_rerouted(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"text": "other"}, route_id="other")
    gone = script({"text": "x"}, route_id="gone", default=False)
    run = submit(session, route_id="gone")
    gone.delete()
    run = finish(run, heartbeat)
    assert (run.status, run.error["code"]) == ("failed", "route_not_found")


def test_a_run_whose_route_cannot_read_its_key_fails_and_says_so(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    route = script({"text": "never"})
    for slot_id, code in (("gone", "secret_not_found"), ("foreign", "master_key_mismatch")):
        make_secret("foreign", "a-key-for-the-model")
        run = submit(session)
        route.auth_ref = slot_id
        route.save()
        under_another = Fernet(Fernet.generate_key()).encrypt(b"x").decode()
        SecretSlot.objects.filter(slot_id="foreign").update(sealed=under_another)
        run = finish(run, heartbeat)
        assert (run.status, run.error["code"]) == ("failed", code)
        route.auth_ref = ""
        route.save()
    assert "route scripted has no key to call its model" in run.error["message"]


def test_unknown_effect_asks_an_operator_and_each_outcome_goes_on(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    for outcome, status in (
        ("happened", "completed"),
        ("not_happened", "completed"),
        ("tell_agent", "completed"),
        ("give_up", "failed"),
    ):
        run = _crashed_in_bash(script, session, heartbeat)
        assert run.status == "waiting_for_operator"
        decision = run.decisions.get()
        judged = decisions.Judgement(outcome=outcome, note="looked")
        decisions.resolve(decision.decision_id, judged, principal=ALICE)
        run = finish(run, heartbeat)
        assert run.status == status, (outcome, run.error)
        assert kinds(run).count("tool.started") == (2 if outcome == "not_happened" else 1)


def test_unknown_effect_tells_the_agent_when_the_session_says_so(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    sessions.set_unknown_effects(session.session_id, "tell", principal="alice")
    run = _crashed_in_bash(script, session, heartbeat)
    assert run.status == "completed"
    assert payloads(run, "tool.reconciled")[0]["error_code"] == "outcome_unknown"


def _crashed_in_bash(script: Script, session: Session, heartbeat: Heartbeat) -> Run:
    """Bring a run to where its worker died between ``started`` and the result of a shell command."""
    script({"tool_calls": [call("bash", command="echo once")]}, {"text": "end"})
    run = finish(submit(session), heartbeat)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sessions_app.engine.execute.crashpoint", _die_when("tool.started"))
        with pytest.raises(_Died):
            loop.drive(run.session_id, heartbeat)
    Session.objects.filter(pk=session.pk).update(lease_expires_at="2020-01-01T00:00Z")
    return finish(run, Heartbeat("worker-2"))


class _Died(BaseException):
    """What SIGKILL looks like from inside: nothing after it runs."""


def _die_when(name: str) -> Callable[[str], None]:
    def crash(here: str) -> None:
        if here == name:
            raise _Died

    return crash


def test_a_rule_set_during_a_run_counts_at_once(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"tool_calls": [call("list_files", base=".")]}, {"text": "heard: {{ last_result }}"})

    def forbid(name: str) -> None:
        if name == "model.after":
            rule = {"tool_name_pattern": "list_files", "behavior": "deny", "reason": "closed now"}
            sessions.set_permission_rules(session.session_id, [rule], principal="alice")

    monkeypatch.setattr("sessions_app.engine.step.crashpoint", forbid)
    run = finish(submit(session), heartbeat)
    assert "closed now" in run.outputs[0]["content"]
