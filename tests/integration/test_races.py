"""People and workers at once: whoever is second sees what the first one did."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from kheish_site.lib import clock
from kheish_site.lib.errors import Conflict
from sessions_app.engine import loop
from sessions_app.models import Approval, AuditEntry, LoginThrottle, Run, Session
from sessions_app.services import (
    approval_batches,
    approvals,
    decisions,
    logins,
    questions,
    recovery,
    runs,
    sessions,
)
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.principal import Principal
from tests.sessions_app.engine.conftest import ALICE, BOB, call, kinds, pending, submit
from tests.support.engine import (
    Died,
    at_crashpoint,
    check_ended,
    check_session,
    dying_at,
    expire_lease,
    race,
)

pytestmark = pytest.mark.django_db(transaction=True)
Script = Callable[..., Any]
ASKS = {"tool_calls": [call("bash", command="echo once >> log.txt")]}
QUESTION = call(
    "ask_user_question",
    questions=[{"question": "Which?", "options": [{"label": "Yes"}, {"label": "No"}]}],
)


def waiting(script: Script, session: Session, heartbeat: Heartbeat, *turns: dict[str, Any]) -> Run:
    """Bring a run to where it waits for people."""
    script(*(turns or (ASKS,)), {"text": "done"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    return runs.get(run.run_id)


def test_of_logins_tried_at_once_no_more_pass_than_may() -> None:
    """What is counted after a slow check is counted too late; and who fails last must not lift the block."""
    tries = race(16, lambda number: logins.attempt("lea", "10.0.0.1"))
    passed = [tried for tried in tries if isinstance(tried, logins.Attempt)]
    assert len(passed) == settings.KHEISH.login_failures == 5
    assert sum(isinstance(tried, logins.TooManyAttempts) for tried in tries) == 11, tries
    race(5, lambda number: logins.failed(passed[number]))
    assert AuditEntry.objects.filter(action="login.blocked").count() == 1
    with pytest.raises(logins.TooManyAttempts):
        logins.attempt("lea", "10.0.0.1")


def test_logins_that_succeed_at_once_leave_nothing_counted() -> None:
    tries = race(4, lambda number: logins.attempt("lea", "10.0.0.1"))
    race(4, lambda number: logins.succeeded(tries[number]))
    assert list(LoginThrottle.objects.values_list("account", "failures", "blocked_until")) == [("", 0, None)]


def test_sixteen_racing_deciders_settle_once(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    run = waiting(script, session, heartbeat)
    (approval,) = pending(run)

    def decide(number: int) -> str:
        who = Principal(name=f"p{number}", role="admin", auth_method="token", remote_addr="127.0.0.1")
        vote = Vote(behavior="allow" if number % 2 else "deny")
        return approvals.resolve(approval.approval_id, vote, principal=who).decision["principal"]

    results = race(16, decide)
    winners = {result for result in results if isinstance(result, str)}
    assert len(winners) == 1
    assert all(isinstance(result, str | approvals.ApprovalConflict) for result in results), results
    settled = [kind for kind in kinds(run) if kind in ("approval.allowed", "approval.denied")]
    assert len(settled) == 1 and kinds(run).count("run.resumed") == 1
    check_session(session.pk)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    check_session(session.pk)


def test_eight_racing_submitters_keep_one_order_and_one_active_run(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"text": "did {{ input }}"})
    submitted = race(8, lambda number: submit(session, f"n{number}"))
    assert all(isinstance(run, Run) for run in submitted), submitted
    check_session(session.pk)
    race(4, lambda number: loop.drive(session.pk, Heartbeat(f"w{number}")))
    loop.drive(session.pk, heartbeat)
    ended = sorted((runs.get(run.run_id) for run in submitted), key=lambda run: run.position)
    assert [run.status for run in ended] == ["completed"] * 8
    finished = [run.finished_at for run in ended]
    assert finished == sorted(finished)
    check_session(session.pk)


@pytest.mark.parametrize("verb", [runs.cancel, None])
def test_cancel_against_approve(
    script: Script, session: Session, heartbeat: Heartbeat, verb: Callable[..., Any] | None
) -> None:
    for _ in range(6):
        run = waiting(script, session, heartbeat)
        (approval,) = pending(run)

        def work(number: int, run: Run = run, approval: Approval = approval) -> Any:
            if number:
                return approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
            if verb is None:
                return runs.interrupt(session.session_id, principal="bob")
            return verb(run.run_id, principal="bob")

        stopped, approved = race(2, work)
        assert isinstance(stopped, Run), stopped
        assert isinstance(approved, Approval | approvals.ApprovalConflict)
        check_session(session.pk)
        loop.drive(session.pk, heartbeat)
        run = runs.get(run.run_id)
        assert run.status == ("cancelled" if verb else "interrupted")
        assert not (sessions.workspace(session) / "log.txt").exists()
        check_ended(run)
        check_session(session.pk)


def test_a_stop_asked_while_the_batch_is_about_to_suspend_is_honoured_at_once(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(ASKS, {"text": "done"})
    run = submit(session)
    from sessions_app.engine import tools_phase

    real = tools_phase._calls

    def cancelling(turn: Any) -> Any:
        runs.cancel(run.run_id, principal="alice")
        return real(turn)

    monkeypatch.setattr(tools_phase, "_calls", cancelling)
    loop.drive(session.pk, heartbeat)
    ended = runs.get(run.run_id)
    assert ended.status == "cancelled"
    check_ended(ended)
    check_session(session.pk)


def test_an_approval_whose_time_is_over_allows_nothing(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    run = waiting(script, session, heartbeat)
    (approval,) = pending(run)
    Approval.objects.filter(pk=approval.pk).update(expires_at=clock.now() - timedelta(seconds=1))
    with pytest.raises(approvals.ApprovalExpired):
        approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    assert recovery.expire_due() == 1
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    assert not (sessions.workspace(session) / "log.txt").exists()


def test_expire_against_approve(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    for _ in range(6):
        run = waiting(script, session, heartbeat)
        (approval,) = pending(run)
        Approval.objects.filter(pk=approval.pk).update(expires_at=clock.now() + timedelta(milliseconds=20))

        def work(number: int, approval: Approval = approval) -> Any:
            if number % 2:
                return approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
            return recovery.expire_due()

        race(6, work)
        recovery.expire_due()
        approval.refresh_from_db()
        settled = [kind for kind in kinds(run) if kind in ("approval.allowed", "approval.expired")]
        assert len(settled) == 1
        check_session(session.pk)
        loop.drive(session.pk, heartbeat)
        assert runs.get(run.run_id).status == "completed"


def test_one_expiry_that_fails_does_not_hold_up_the_others(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = waiting(
        script, session, heartbeat, {"tool_calls": [ASKS["tool_calls"][0], call("bash", command="true")]}
    )
    Approval.objects.filter(run=run).update(expires_at=clock.now() - timedelta(seconds=1))
    real, failed = approvals.expire, []

    def expire(approval: Approval) -> bool:
        if not failed:
            failed.append(approval.pk)
            raise Conflict("broken")
        return real(approval)

    monkeypatch.setattr(approvals, "expire", expire)
    assert recovery.expire_due() == 1


def test_a_batch_of_approval_question_and_unknown_is_decided_by_many_at_once(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    run = waiting(script, session, heartbeat, {"tool_calls": [call("bash", command="true"), QUESTION]})
    (approval,), question = pending(run), run.questions.get()
    answer = [{"question_id": "question-1", "selected_option_ids": ["option-1"], "freeform_answer": ""}]

    def work(number: int) -> Any:
        if number % 2:
            return approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
        return questions.resolve(question.question_id, questions.Resolution(answers=answer), principal=BOB)

    results = race(8, work)
    assert not [result for result in results if isinstance(result, Exception)], results
    assert kinds(run).count("run.resumed") == 1
    check_session(session.pk)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"


def test_batches_race_and_one_counts(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    turn = {"tool_calls": [call("bash", command=f"echo {n} >> log.txt") for n in range(3)]}
    run = waiting(script, session, heartbeat, turn)
    named = [(item.approval_id, Vote(behavior="allow")) for item in pending(run)]
    results = race(6, lambda _: approval_batches.resolve_for_run(run.run_id, named, principal=ALICE))
    assert sum(isinstance(result, Run) for result in results) == 1
    check_session(session.pk)
    loop.drive(session.pk, heartbeat)
    assert (sessions.workspace(session) / "log.txt").read_text() == "0\n1\n2\n"


def test_giving_up_on_one_of_several_unknown_effects_ends_the_run(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    run = _crashed(script, session, heartbeat, "tool.started", commands=1)
    decision = run.decisions.get()
    results = race(
        6,
        lambda n: decisions.resolve(
            decision.decision_id,
            decisions.Judgement(outcome="give_up" if n % 2 else "tell_agent"),
            principal=ALICE,
        ),
    )
    assert {type(result) for result in results} <= {type(decision), decisions.DecisionConflict}
    check_session(session.pk)
    loop.drive(session.pk, heartbeat)
    check_ended(runs.get(run.run_id))


def test_a_run_cancelled_after_its_worker_died_says_that_the_effect_is_unknown(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    run = _crashed(script, session, heartbeat, "tool.started", commands=1, recover=False)
    runs.cancel(run.run_id, principal="alice")
    expire_lease(session.pk)
    loop.drive(session.pk, Heartbeat("worker-2"))
    run = runs.get(run.run_id)
    assert run.status == "cancelled"
    assert [item.state for item in run.tool_calls.all()] == ["unknown"]
    assert "tool.unknown" in kinds(run)
    check_session(session.pk)


def test_an_interrupt_finds_a_resumed_run_that_is_still_in_the_queue(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    run = waiting(script, session, heartbeat)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    stopped = runs.interrupt(session.session_id, principal="alice")
    assert stopped is not None and stopped.run_id == run.run_id and stopped.status == "interrupted"


def test_an_interrupt_that_comes_too_late_finds_nothing(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = waiting(script, session, heartbeat)
    real = runs._stop

    def late(run_id: str, *given: Any, **more: Any) -> Run:
        monkeypatch.setattr(runs, "_stop", real)
        runs.cancel(run_id, principal="bob")
        return real(run_id, *given, **more)

    monkeypatch.setattr(runs, "_stop", late)
    assert runs.interrupt(session.session_id, principal="alice") is None
    assert runs.get(run.run_id).status == "cancelled"


def test_nobody_is_asked_about_calls_beyond_the_turn_limit(
    script: Script, session: Session, heartbeat: Heartbeat, settings: Any
) -> None:
    from dataclasses import replace

    settings.KHEISH = replace(settings.KHEISH, max_turns=1)
    run = waiting(script, session, heartbeat)
    assert (run.status, run.error["code"]) == ("failed", "turn_limit")
    assert not Approval.objects.exists()


def test_a_question_that_makes_no_sense_goes_back_to_the_model(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    twice = [{"question": "Which?", "options": [{"label": "Yes"}, {"label": "yes"}]}]
    run = waiting(
        script,
        session,
        heartbeat,
        {"tool_calls": [call("ask_user_question", questions=twice)]},
        {
            "tool_calls": [
                call("ask_user_question", questions=QUESTION["arguments"]["questions"], expires_at="soon")
            ]
        },
    )
    assert run.status == "completed", run.error
    assert kinds(run).count("tool.returned") == 2


def _crashed(
    script: Script, session: Session, heartbeat: Heartbeat, where: str, *, commands: int, recover: bool = True
) -> Run:
    """Let a worker die at ``where``, while approved shell commands are under way."""
    turn = {"tool_calls": [call("bash", command=f"echo {n} >> log.txt") for n in range(commands)]}
    run = waiting(script, session, heartbeat, turn)
    for approval in pending(run):
        approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    with dying_at(lambda here: here == where), pytest.raises(Died):
        loop.drive(session.pk, heartbeat)
    if recover:
        expire_lease(session.pk)
        loop.drive(session.pk, Heartbeat("worker-2"))
    return runs.get(run.run_id)


def test_an_approved_call_survives_a_death_before_it_started(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _crashed(script, session, heartbeat, "claimed", commands=1)
    assert run.status == "completed"
    assert kinds(run).count("approval.requested") == 1
    assert (sessions.workspace(session) / "log.txt").read_text() == "0\n"


def test_a_thawed_worker_starts_nothing_and_commits_nothing(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen between ``started`` and the command: by the time it wakes up an operator has decided."""
    run = waiting(script, session, heartbeat)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    before: list[int] = []

    def freeze() -> None:
        expire_lease(session.pk)
        loop.drive(session.pk, Heartbeat("worker-2"))
        decision = runs.get(run.run_id).decisions.get()
        judged = decisions.Judgement(outcome="not_happened")
        decisions.resolve(decision.decision_id, judged, principal=ALICE)
        loop.drive(session.pk, Heartbeat("worker-2"))
        session.refresh_from_db()
        before.append(session.next_seq)

    at_crashpoint(monkeypatch, "tool.started", freeze)
    loop.drive(session.pk, heartbeat)
    session.refresh_from_db()
    assert [session.next_seq] == before
    assert runs.get(run.run_id).status == "completed"
    assert (sessions.workspace(session) / "log.txt").read_text() == "once\n"
    assert run.tasks.count() == 1
    check_session(session.pk)
