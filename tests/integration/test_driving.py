"""Driving under pressure: stops, lost leases, heads that change under the driver, databases that refuse."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection

from kheish_site.lib import clock
from sessions_app.engine import execute, loop, settle
from sessions_app.engine.loop import RUNS_IN_A_ROW
from sessions_app.models import Run, Session, ShellTask, ToolCall
from sessions_app.services import approvals, leases, recovery, runs, sessions, shell_tasks
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.sessions import NewSession
from sessions_app.tools import registry
from tests.factories import make_route, make_run, make_session
from tests.sessions_app.api.rows import ask_approvals
from tests.sessions_app.engine.conftest import ALICE, call, kinds, payloads, pending, submit
from tests.support import engine
from tests.support.engine import (
    LONG_AGO,
    Died,
    at_crashpoint,
    check_ended,
    check_session,
    dying_at,
    expire_lease,
)

pytestmark = pytest.mark.django_db(transaction=True)
Script = Callable[..., Any]


def drive_in_time(session: Session, heartbeat: Heartbeat, seconds: float = 10.0) -> None:
    """Drive in a thread, so that a driver that never returns fails the test instead of hanging it."""

    def work() -> None:
        try:
            loop.drive(session.pk, heartbeat)
        finally:
            connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        expire_lease(session.pk)
        heartbeat.draining.set()
        thread.join(seconds)
        pytest.fail("the driver did not come back")


def beat_when_due(heartbeat: Heartbeat) -> None:
    heartbeat._renewed = float("-inf")
    heartbeat.beat()


def test_a_stop_is_for_one_run_and_the_next_in_the_queue_runs(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    first, second = submit(session), submit(session)

    def stop() -> None:
        runs.cancel(first.run_id, principal="alice")
        heartbeat.beat()

    at_crashpoint(monkeypatch, "model.before", stop)
    drive_in_time(session, heartbeat)
    assert [runs.get(run.run_id).status for run in (first, second)] == ["cancelled", "completed"]
    check_session(session.pk)


def test_a_driver_whose_lease_is_lost_lets_go(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    run = submit(session)

    def lose() -> None:
        Session.objects.filter(pk=session.pk).update(lease_owner="other", lease_epoch=99)
        beat_when_due(heartbeat)

    at_crashpoint(monkeypatch, "model.before", lose)
    drive_in_time(session, heartbeat)
    assert runs.get(run.run_id).status == "running"
    assert heartbeat.driven() == frozenset()


@pytest.mark.parametrize("committed", [False, True])
def test_a_result_outlasts_a_database_that_is_away(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """What a tool returned is known to its worker alone; a commit whose answer was lost may have happened."""
    settle, failed = execute._settle, list[bool]()

    def away(turn: Any, results: list[Any], *, opens_next: bool) -> None:
        if failed or not results:
            return settle(turn, results, opens_next=opens_next)
        failed.append(committed)
        if committed:
            settle(turn, results, opens_next=opens_next)
        results[0][0].state = "succeeded"  # what was about to be written
        raise OperationalError("terminating connection due to administrator command")

    monkeypatch.setattr(execute, "_settle", away)
    Session.objects.filter(pk=session.pk).update(permission_mode="bypassPermissions")
    write = {"tool_calls": [call("bash", command="echo once >> out.txt && cat out.txt")]}
    script(write, {"text": "done"})
    run = submit(session)
    if committed:
        with pytest.raises(OperationalError):
            loop.drive(session.pk, heartbeat)
        expire_lease(session.pk)
    loop.drive(session.pk, heartbeat)
    assert (runs.get(run.run_id).status, failed) == ("completed", [committed])
    (settled,) = ToolCall.objects.filter(run=run)
    assert (settled.state, settled.content) == ("succeeded", "once\n[exit code 0]")
    assert kinds(run).count("tool.returned") == 1
    check_session(session.pk)


def test_a_run_is_accepted_under_the_settings_of_its_moment(
    script: Script, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, tightened = sessions.get, list[int]()

    def late(session_id: str) -> Session:
        found = read(session_id)
        if not tightened:
            tightened.append(1)
            sessions.set_permission_mode(session_id, "plan", principal="admin")
        return found

    monkeypatch.setattr(sessions, "get", late)
    script({"text": "done"})
    assert submit(session).permission_mode == "plan"


def test_a_renewal_that_failed_is_tried_again_with_the_next_beat(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    submit(session)
    renewed: list[int] = []

    def renew(owner: str, holds: Any) -> int:
        renewed.append(len(renewed))
        if len(renewed) == 1:
            raise OperationalError("away")
        return len(holds)

    def beat() -> None:
        with pytest.raises(OperationalError):
            beat_when_due(heartbeat)
        heartbeat.beat()
        heartbeat.beat()

    monkeypatch.setattr(leases, "renew", renew)
    at_crashpoint(monkeypatch, "model.before", beat)
    drive_in_time(session, heartbeat)
    assert renewed == [0, 1]


def test_a_lease_that_ran_out_is_noticed_before_anybody_takes_it(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    submit(session)
    seen: list[bool] = []

    def run_out() -> None:
        expire_lease(session.pk)
        beat_when_due(heartbeat)
        seen.append(next(iter(heartbeat._holds.values())).lost)

    at_crashpoint(monkeypatch, "model.before", run_out)
    drive_in_time(session, heartbeat)
    assert seen == [True]


def test_the_next_run_cancelled_under_the_driver_leaves_no_lease_behind(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    _, second, third = submit(session), submit(session), submit(session)
    real = loop._opening

    def cancelling(run: Run) -> Any:
        if run.pk == second.pk:
            runs.cancel(second.run_id, principal="alice")
        return real(run)

    monkeypatch.setattr(loop, "_opening", cancelling)
    drive_in_time(session, heartbeat)
    session.refresh_from_db()
    assert session.lease_owner == ""
    loop.drive(session.pk, heartbeat)
    assert runs.get(third.run_id).status == "completed"
    check_session(session.pk)


def test_an_expired_lease_over_nothing_is_cleared(session: Session, heartbeat: Heartbeat) -> None:
    Session.objects.filter(pk=session.pk).update(
        lease_owner="dead", lease_epoch=3, lease_expires_at="2020-01-01T00:00Z"
    )
    assert session.pk in recovery.due_sessions()
    loop.drive(session.pk, heartbeat)
    assert recovery.due_sessions() == []


def test_a_head_that_moved_on_since_it_was_read_is_not_taken_as_it_was(
    script: Script, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read queued, taken, asked again, approved again, queued again: the reader's copy is two steps old."""
    script(
        {"tool_calls": [call("bash", command="echo 1 >> log")]},
        {"tool_calls": [call("bash", command="echo 2 >> log")]},
        {"text": "done"},
    )
    run = submit(session)
    other = Heartbeat("worker-2")
    loop.drive(session.pk, other)
    _approve(run)
    real, raced = leases.claim, []

    def late(stale: Run, owner: str, **more: Any) -> Any:
        if owner == "worker-1" and not raced:
            raced.append(owner)
            loop.drive(session.pk, other)
            _approve(run)
        return real(stale, owner, **more)

    monkeypatch.setattr(leases, "claim", late)
    loop.drive(session.pk, Heartbeat("worker-1"))
    ended = runs.get(run.run_id)
    assert (ended.status, ended.step) == ("completed", 3), ended.error
    assert kinds(run).count("tool.started") == 2
    check_session(session.pk)


def test_a_plan_that_is_committed_while_somebody_takes_over_is_carried_out(
    script: Script, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder began the commit in time, froze in it and died after it; the next one had read the run."""
    script({"tool_calls": [call("bash", command="echo 1 >> log")]}, {"text": "done"})
    run = submit(session)
    answered, read = threading.Event(), threading.Event()

    def work() -> None:
        with suppress(Died):
            loop.drive(session.pk, Heartbeat("holder"))
        connection.close()

    holder = threading.Thread(target=work, daemon=True)

    def dies(here: str) -> bool:
        if threading.current_thread() is not holder:
            return False
        if here == "model.after":
            answered.set()
            read.wait(30)
        return here == "planned"

    real = leases.claim

    def late(stale: Run, owner: str, **more: Any) -> Any:
        if owner == "next" and not read.is_set():
            read.set()
            holder.join(30)
            expire_lease(session.pk)
        return real(stale, owner, **more)

    monkeypatch.setattr(leases, "claim", late)
    with dying_at(dies):
        holder.start()
        assert answered.wait(30)
        loop.drive(session.pk, Heartbeat("next"))
    assert runs.get(run.run_id).status == "waiting_for_approval"
    _approve(run)
    loop.drive(session.pk, Heartbeat("next"))
    ended = runs.get(run.run_id)
    assert (ended.status, ended.step) == ("completed", 2), ended.error
    assert kinds(run).count("tool.started") == 1
    check_session(session.pk)


def _approve(run: Run) -> None:
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)


def test_a_run_that_kills_its_workers_is_ended_with_a_reason(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"text": "boom"})
    run, following = submit(session), submit(session)
    for number in range(20):
        with dying_at(lambda here: here == "model.before"):
            try:
                loop.drive(session.pk, Heartbeat(f"worker-{number}"))
            except Died:
                expire_lease(session.pk)
            else:
                break
    ended = runs.get(run.run_id)
    assert (ended.status, ended.error["code"]) == ("failed", "recovery_limit")
    check_ended(ended)
    with dying_at(lambda here: False):
        loop.drive(session.pk, heartbeat)
    assert runs.get(following.run_id).status in ("completed", "failed")
    check_session(session.pk)


def test_a_run_that_makes_progress_survives_any_number_of_deaths(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script(*({"tool_calls": [call("list_files", base=".", limit=n + 1)]} for n in range(12)), {"text": "end"})
    run = submit(session)
    deaths = 0
    for number in range(40):
        with dying_at(lambda here: here == "tool.settled"):
            try:
                loop.drive(session.pk, Heartbeat(f"worker-{number}"))
            except Died:
                deaths += 1
                expire_lease(session.pk)
            else:
                break
    ended = runs.get(run.run_id)
    assert (ended.status, deaths, ended.recovered_count) == ("completed", 12, 12), ended.error


def test_a_database_that_is_away_fails_no_run(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    run = submit(session)

    def away() -> None:
        raise OperationalError("the server closed the connection")

    at_crashpoint(monkeypatch, "model.after", away)
    with pytest.raises(OperationalError):
        loop.drive(session.pk, heartbeat)
    expire_lease(session.pk)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"


@pytest.fixture
def free() -> Session:
    """A session in which nobody is asked."""
    rules = [{"tool_name_pattern": "*", "behavior": "allow"}]
    return sessions.create(NewSession(session_id="free", permission_rules=rules), principal="alice")[0]


def drive_on(session: Session) -> None:
    """Let the lease that was left run out, and somebody else take over."""
    expire_lease(session.pk)
    loop.drive(session.pk, Heartbeat("another"))


@pytest.mark.parametrize("point", ["model.before", "model.after", "planned", "tool.started", "tool.returned"])
def test_an_unforeseen_failure_leaves_the_run_as_a_death_does_for_a_moment(
    script: Script, free: Session, heartbeat: Heartbeat, point: str
) -> None:
    script({"tool_calls": [call("write_file", path="a.txt", content="a")]}, {"text": "done"})
    run = submit(free)
    with engine.failing_at(point, ZeroDivisionError("of this worker")):
        loop.drive(free.pk, heartbeat)
        assert runs.get(run.run_id).status == "running" and free.pk not in recovery.due_sessions()
        free.refresh_from_db()
        assert free.lease_expires_at is not None
        assert free.lease_expires_at - clock.now() <= timedelta(seconds=settle.DISRUPTED_SECONDS)
        assert payloads(run, "run.disrupted")[0]["error"] == {"code": "internal_error"}
        drive_on(free)
    ended = runs.get(run.run_id)
    assert (ended.status, ended.recovered_count) == ("completed", 1)


@pytest.mark.parametrize("failure", [ZeroDivisionError("of the run"), DataError("value too long")])
@pytest.mark.parametrize("point", ["model.after", "tool.settled"])
def test_a_run_that_goes_on_failing_ends(
    script: Script, session: Session, heartbeat: Heartbeat, failure: Exception, point: str
) -> None:
    """Whether it makes steps in between or not: a failure that costs a model call each time must end."""
    script(*({"tool_calls": [call("list_files", base=".", limit=n + 1)]} for n in range(9)), {"text": "end"})
    run = submit(session)
    with engine.failing_at(point, *[failure] * 9):
        loop.drive(session.pk, heartbeat)
        for _ in range(recovery.MOST_DISRUPTIONS):
            assert runs.get(run.run_id).status == "running"
            drive_on(session)
    ended = runs.get(run.run_id)
    assert (ended.status, ended.error["code"]) == ("failed", "internal_error")
    assert kinds(run).count("run.disrupted") == recovery.MOST_DISRUPTIONS
    check_session(session.pk)


def test_an_unforeseen_failure_after_an_effect_leaves_it_to_people(
    script: Script, free: Session, heartbeat: Heartbeat
) -> None:
    script({"tool_calls": [call("bash", command="echo once >> effects.txt")]}, {"text": "end"})
    run = submit(free)
    with engine.failing_at("tool.returned", ZeroDivisionError("before the result was kept")):
        loop.drive(free.pk, heartbeat)
        drive_on(free)
    assert runs.get(run.run_id).status == "waiting_for_operator"
    assert (sessions.workspace(free) / "effects.txt").read_text() == "once\n"


def test_a_run_that_is_cancelled_in_the_queue_leaves_no_command_running(
    script: Script, free: Session, heartbeat: Heartbeat
) -> None:
    """Whoever took it over from a frozen worker handed it on before it looked at its calls."""
    script({"tool_calls": [call("bash", command="sleep 60", run_in_background=True)]}, {"text": "end"})
    run = submit(free)
    with engine.failing_at("tool.returned", ZeroDivisionError):
        loop.drive(free.pk, heartbeat)
    Run.objects.filter(pk=run.pk).update(status="queued")
    Session.objects.filter(pk=free.pk).update(lease_owner="", lease_expires_at=None, queued_runs=1)
    runs.cancel(run.run_id, principal="alice")
    assert ShellTask.objects.get().status == "failed"
    (process,) = list(shell_tasks._LIVE.values())
    shell_tasks.stop_settled()
    assert process.wait(10) is not None


def test_a_stop_that_comes_while_a_run_is_disrupted_is_honoured(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"text": "done"})
    run = submit(session)
    with engine.failing_at("model.after", ZeroDivisionError):
        loop.drive(session.pk, heartbeat)
        runs.cancel(run.run_id, principal="alice")
        drive_on(session)
    assert runs.get(run.run_id).status == "cancelled"


def test_an_unforeseen_failure_in_the_commit_that_ends_a_run_is_one_too(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    run = submit(session)
    Run.objects.filter(pk=run.pk).update(reply_targets=[{"plugin": "local", "address": {}}])
    emitted: list[int] = []

    def emit(*given: Any) -> None:
        emitted.append(len(emitted))
        if len(emitted) == 1:
            raise KeyError("a listener of answers")

    monkeypatch.setattr("sessions_app.services.ports.output_emitted", emit)
    loop.drive(session.pk, heartbeat)
    assert kinds(run)[-1] == "run.disrupted"
    drive_on(session)
    assert (runs.get(run.run_id).status, len(emitted)) == ("completed", 2)
    check_session(session.pk)


def test_a_worker_that_lost_a_run_leaves_the_task_of_whoever_has_it_alone(
    script: Script, free: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen after its plan was committed, it finds the call started when it goes on: by another worker."""
    command = "until [ -e go ]; do sleep 0.02; done; echo once"
    script({"tool_calls": [call("bash", command=command)]}, {"text": "done"})
    run, others = submit(free), list[threading.Thread]()

    def taken_over() -> None:
        expire_lease(free.pk)
        other = threading.Thread(target=drive_in_time, args=(free, Heartbeat("worker-2"), 60))
        other.start()
        others.append(other)
        deadline = time.monotonic() + 60
        while not ShellTask.objects.filter(pid__gt=0).exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    at_crashpoint(monkeypatch, "planned", taken_over)
    loop.drive(free.pk, heartbeat)
    assert ShellTask.objects.get().status == "in_progress"
    (sessions.workspace(free) / "go").touch()
    others[0].join()
    assert runs.get(run.run_id).status == "completed"
    assert ToolCall.objects.get(run=run).content == "once\n[exit code 0]"
    assert "task.finished" in kinds(run) and "tool.unknown" not in kinds(run)


def test_a_probe_that_breaks_says_nothing_of_the_effect(
    script: Script, free: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"tool_calls": [call("write_file", path="a.txt", content="a")]}, {"text": "done"})
    run = submit(free)
    with dying_at(lambda here: here == "tool.returned"), pytest.raises(Died):
        loop.drive(free.pk, heartbeat)
    expire_lease(free.pk)

    def broken(*given: Any) -> None:
        raise KeyError("of the tool's own code")

    monkeypatch.setattr(type(registry.get("write_file")), "probe", broken)
    loop.drive(free.pk, Heartbeat("worker-2"))
    assert runs.get(run.run_id).status == "waiting_for_operator"
    assert "run.disrupted" not in kinds(run)


def test_a_tool_that_is_gone_when_its_call_is_approved_is_told(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"tool_calls": [call("bash", command="echo x")]}, {"text": "done"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    approvals.resolve(pending(run)[0].approval_id, Vote(behavior="allow"), principal=ALICE)
    monkeypatch.setattr(registry, "get", lambda name: None)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    assert [told["error_code"] for told in payloads(run, "tool.returned")] == ["tool_unknown"]
    check_session(session.pk)


def test_a_lease_that_ran_out_goes_where_nothing_is_to_be_driven() -> None:
    """Where something is, its session is found by that lease."""
    make_route()
    waits, queued = make_session("waits"), make_session("queued")
    ask_approvals(waits)
    for session in (waits, queued):
        make_run(session)
    Session.objects.update(lease_owner="worker-1", lease_expires_at=LONG_AGO)
    assert [leases.clear_expired(session.pk) for session in (waits, waits, queued)] == [True, False, False]
    assert recovery.due_sessions() == [queued.pk]


def test_a_draining_worker_starts_no_queued_run(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    script({"text": "done"})
    first, second = submit(session), submit(session)
    at_crashpoint(monkeypatch, "model.after", heartbeat.draining.set)
    loop.drive(session.pk, heartbeat)
    assert runs.get(first.run_id).status == "completed"
    assert kinds(second) == ["run.accepted", "run.queued"]
    session.refresh_from_db()
    assert session.lease_owner == ""
    loop.drive(session.pk, Heartbeat("worker-2"))
    assert runs.get(second.run_id).status == "completed"
    check_session(session.pk)


def test_a_long_queue_lets_other_sessions_go_first(heartbeat: Heartbeat, script: Script) -> None:
    script({"text": "done"})
    greedy = sessions.create(NewSession(session_id="greedy"), principal="alice")[0]
    patient = sessions.create(NewSession(session_id="patient"), principal="alice")[0]
    many = [submit(greedy) for _ in range(RUNS_IN_A_ROW + 2)]
    one = submit(patient)
    loop.drive(greedy.pk, heartbeat)
    statuses = [runs.get(run.run_id).status for run in many]
    assert statuses == ["completed"] * RUNS_IN_A_ROW + ["queued"] * 2
    assert recovery.due_sessions() == [patient.pk, greedy.pk]
    loop.drive(patient.pk, heartbeat)
    assert runs.get(one.run_id).status == "completed"
    loop.drive(greedy.pk, heartbeat)
    assert {runs.get(run.run_id).status for run in many} == {"completed"}
