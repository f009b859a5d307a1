"""Every reason a run may stand still has its own words, its chain and its cost."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from kheish_site.lib import clock
from sessions_app.models import Approval, Run, RunStatus, Session, Step, TaskStatus, Worker
from sessions_app.services import journal, runs, why
from tests.factories import make_client
from tests.sessions_app.api.rows import (
    ask_approvals,
    ask_decision,
    ask_question,
    make_call,
    make_run,
    make_session,
    make_task,
    move,
)

pytestmark = pytest.mark.django_db


def make_worker(*, silent_seconds: float = 0, **more: Any) -> Worker:
    moment = clock.now() - timedelta(seconds=silent_seconds)
    given = {"name": "w-1", "host": "here", "pid": 1, "pid_started": "1", "slots": 8, **more}
    return Worker.objects.create(started_at=moment, heartbeat_at=moment, **given)


def driven(session_id: str = "desk", *, lease_seconds: float = 15) -> Run:
    """A running run whose worker holds the lease for so long still."""
    run = move(make_run(make_session(session_id)), RunStatus.RUNNING)
    until = clock.now() + timedelta(seconds=lease_seconds)
    Session.objects.filter(pk=run.session_id).update(lease_owner="w-1", lease_expires_at=until)
    return run


def ids(found: why.Why) -> list[tuple[str, str]]:
    return [(cause.kind, cause.item_id) for cause in found.because]


def test_a_queued_run_names_the_run_before_it_and_what_that_waits_for():
    session = make_session()
    first, (approval,) = ask_approvals(session)
    Approval.objects.update(created_at=clock.now() - timedelta(hours=2))
    make_run(session)
    third = make_run(session)
    found = why.of(third.run_id)
    assert (found.state, found.code) == ("waiting", "behind_run")
    assert ids(found) == [("run", first.run_id), ("approval", approval.approval_id)]
    assert f"2nd in line behind {first.run_id} in session desk" in found.sentence
    assert (
        f"That run waits for approval {approval.approval_id} (bash: make deploy-0) for 2 h" in found.sentence
    )
    assert found.next.startswith(f"Allow or deny it: approvals allow {approval.approval_id}")


@pytest.mark.parametrize(
    ("ask", "kind", "code", "words"),
    [
        (ask_approvals, "approval", "waiting_for_approval", "Allow or deny it"),
        (ask_question, "question", "waiting_for_user_question", "Answer it"),
        (ask_decision, "decision", "waiting_for_operator", "say what happened"),
    ],
)
def test_a_run_that_waits_for_people_says_for_which_word(ask: Any, kind: str, code: str, words: str):
    run, _ = ask(make_session())
    found = why.of(run.run_id)
    assert (found.state, found.code) == ("waiting", code)
    assert [cause.kind for cause in found.because] == [kind]
    assert words in found.next
    assert found.because[0].item_id in found.next
    assert found.since == found.because[0].since


def test_several_open_items_are_all_in_the_chain_with_votes_and_time_left():
    run, _ = ask_approvals(make_session(), 3, required_votes=2, expires_after_seconds=900)
    found = why.of(run.run_id)
    assert len(found.because) == 3
    assert ", and 2 more." in found.sentence
    assert "It expires in 14 min." in found.sentence
    assert "0 of 2 votes" in found.because[0].sentence


def test_without_a_worker_a_run_says_since_when():
    run = make_run(make_session())
    assert (why.of(run.run_id).code, why.of(run.run_id).sentence) == ("no_worker", "No worker is alive.")
    worker = make_worker(silent_seconds=40)
    found = why.of(run.run_id)
    assert found.sentence == "No worker is alive: the last one was heard 40 s ago."
    assert ids(found) == [("worker", "w-1")]
    assert found.since == worker.heartbeat_at
    assert "manage.py serve" in found.next


def test_workers_that_leave_take_nothing_new(settings: Any):
    make_worker(draining=True)
    run = make_run(make_session())
    assert why.of(run.run_id).code == "workers_draining"
    marker = settings.KHEISH.state_dir / "draining"
    marker.touch()
    try:
        assert why.of(run.run_id).code == "service_draining"
    finally:
        marker.unlink()


def test_a_run_that_is_due_starts_in_a_moment_unless_nobody_takes_it():
    make_worker()
    run = make_run(make_session())
    assert (why.of(run.run_id).state, why.of(run.run_id).code) == ("moving", "due")
    Run.objects.update(submitted_at=clock.now() - timedelta(minutes=5))
    found = why.of(run.run_id)
    assert (found.state, found.code) == ("waiting", "not_taken")
    assert "for 5 min" in found.sentence


def test_busy_workers_are_named():
    make_worker(slots=1)
    driven("other")
    run = make_run(make_session())
    found = why.of(run.run_id)
    assert (found.state, found.code) == ("waiting", "workers_busy")
    assert "All 1 slots" in found.sentence


def test_a_lost_lease_is_being_recovered():
    make_worker(name="w-2")
    run = driven(lease_seconds=-3)
    found = why.of(run.run_id)
    assert (found.state, found.code) == ("waiting", "recovering")
    assert "w-1 stopped answering; another worker takes it over" in found.sentence


def test_a_failed_model_call_says_when_the_route_is_asked_again():
    make_worker()
    run = driven()
    failure = {
        "route_id": "scripted", "step": 1, "next_attempt": 3, "delay_seconds": 30,
        "error": {"kind": "rate_limited", "message": "slow down"},
    }  # fmt: skip
    journal.append(run.session_id, journal.entry("desk", "model.failed", failure, run=run))
    found = why.of(run.run_id)
    assert (found.state, found.code) == ("waiting", "route_backoff")
    assert found.sentence.startswith("Route scripted failed (rate_limited) and is asked again in 2")
    assert [(cause.kind, cause.item_id, cause.sentence) for cause in found.because] == [
        ("route", "scripted", "slow down")
    ]


def test_a_backoff_that_is_over_is_a_model_call_again():
    make_worker()
    run = driven()
    Step.objects.create(run=run, number=1, route_id="scripted", started_at=clock.now())
    failure = {"route_id": "scripted", "delay_seconds": 0, "error": {}}
    journal.append(run.session_id, journal.entry("desk", "model.failed", failure, run=run))
    Run.objects.update(step=1)
    assert (why.of(run.run_id).state, why.of(run.run_id).code) == ("moving", "model")


def test_a_moving_run_says_what_it_does():
    make_worker()
    run = driven()
    assert (why.of(run.run_id).state, why.of(run.run_id).code) == ("moving", "driven")
    call = make_call(run)
    type(call).objects.update(state="started", started_at=clock.now() - timedelta(seconds=9))
    found = why.of(run.run_id)
    assert (found.code, found.sentence) == ("tool", "It runs a tool for 9 s: bash: make deploy")
    task = make_task(run, status=TaskStatus.IN_PROGRESS)
    assert ids(why.of(run.run_id)) == [("task", task.task_id)]
    runs.cancel(run.run_id, principal="bob")
    found = why.of(run.run_id)
    assert (found.state, found.code) == ("moving", "stopping")
    assert "by bob" in found.sentence


def test_an_ended_run_says_so_and_why():
    session = make_session()
    error = {"code": "turn_limit", "message": "it made 500 model calls"}
    run = move(make_run(session), RunStatus.RUNNING, RunStatus.FAILED, error=error)
    found = why.of(run.run_id)
    assert (found.state, found.code, found.next) == ("ended", "failed", "")
    assert found.sentence == "It has ended: failed: it made 500 model calls."


def test_what_a_call_would_do_is_redacted():
    run, _ = ask_approvals(make_session())
    Approval.objects.update(arguments={"command": "curl -H 'Authorization: Bearer abcdef0123456789'"})
    assert "abcdef0123456789" not in str(why.of(run.run_id).view())


def test_the_cost_is_the_same_for_many_runs_and_long_queues():
    make_worker()
    costs = []
    for number in (1, 4):
        for n in range(number):
            session = make_session(f"s-{number}-{n}")
            ask_approvals(session, 2)
            for _ in range(number):
                make_run(session)
            driven(f"r-{number}-{n}")
            make_run(make_session(f"d-{number}-{n}"))
        rows = list(Run.objects.select_related("session"))
        with CaptureQueriesContext(connection) as captured:
            assert len(why.of_all(rows)) == len(rows)
        costs.append(len(captured))
    assert costs == [11, 11]


@pytest.mark.parametrize(
    ("make", "queries"),
    [
        (lambda: move(make_run(make_session()), RunStatus.RUNNING, RunStatus.COMPLETED), 0),
        (lambda: make_run(make_session()), 4),
        (lambda: driven(), 5),
        (lambda: ask_approvals(make_session(), 3)[0], 3),
    ],
    ids=["ended", "due", "running", "asking"],
)
def test_one_answer_costs_what_is_written_here(make: Any, queries: int):
    run = runs.get(make().run_id)
    with CaptureQueriesContext(connection) as captured:
        why.of_all([run])
    assert len(captured) == queries


def test_the_api_answers_and_knows_no_run_that_is_not_there():
    run = make_run(make_session())
    client = make_client("viewer")
    answer = client.get(f"/v1/runs/{run.run_id}/why")
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["code"]) == ("waiting", "no_worker")
    assert client.get("/v1/runs/run_none/why").json()["code"] == "run_not_found"


def test_a_resumed_run_counts_from_when_it_was_resumed():
    make_worker()
    run, _ = ask_approvals(make_session())
    move(run, RunStatus.QUEUED)
    Run.objects.update(started_at=F("submitted_at"), submitted_at=clock.now() - timedelta(hours=3))
    assert why.of(run.run_id).code == "due"


def test_a_process_whose_clock_is_wrong_reads_heartbeats_and_leases_by_the_databases(
    monkeypatch: pytest.MonkeyPatch,
):
    make_worker()
    due, run = make_run(make_session("due")), driven()
    ahead = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: ahead)
    assert why.of(due.run_id).code == "due"
    assert why.of(run.run_id).code == "driven"
    Session.objects.filter(pk=run.session_id).update(lease_expires_at=ahead - timedelta(hours=2))
    Worker.objects.update(slots=1)
    behind = ahead - timedelta(hours=4)
    monkeypatch.setattr(clock, "now", lambda: behind)
    assert why.of(run.run_id).code == "recovering"
    assert why.of(due.run_id).code == "due"
