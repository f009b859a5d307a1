"""A schedule's fire is exactly one run, whoever fires it and whoever dies."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors_app.models import Materialization, MaterializationSchedule, ObservationSource
from connectors_app.services.observations import keeper, schedules, sources
from connectors_app.services.observations.keeper import Keeper
from connectors_app.services.observations.schedules import NewSchedule
from connectors_app.services.reply_targets import ReplyTargetForbidden
from kheish_site.lib import clock
from sessions_app.models import Run, RunStatus, Session, TickLease
from sessions_app.services import ports, runs, sessions, ticks
from tests.connectors_app.observations.rows import make_text_source, see
from tests.connectors_app.rows import make_connector
from tests.factories import code_of, make_client, make_route, make_session
from tests.support.engine import Died, check_session, race

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/v1/observation-sources/notes/schedules"
SLACK = {"bot_token": {"value": "xoxb-canary"}, "signing_secret": {"value": "signing-canary"}}


@pytest.fixture
def source() -> ObservationSource:
    make_route()
    make_session("desk")
    return make_text_source()


def schedule(source: ObservationSource, **fields: Any) -> MaterializationSchedule:
    given = {"session_id": "desk", "prompt": "What is new?", "interval_seconds": 60, **fields}
    return schedules.create(source, NewSchedule(**given), principal="alice")


def make_due(row: MaterializationSchedule, **late: Any) -> datetime:
    """Let the schedule be due, by a second unless told otherwise; return that moment."""
    moment = clock.now() - timedelta(**late or {"seconds": 1})
    MaterializationSchedule.objects.filter(pk=row.pk).update(next_due_at=moment)
    return moment


def end_runs() -> None:
    for run in Run.objects.filter(status=RunStatus.QUEUED):
        runs.cancel(run.run_id, principal="alice")


def test_a_fire_is_a_run_of_what_is_new(source: ObservationSource) -> None:
    row, seen = schedule(source), see(source, "hello")
    assert schedules.fire_due() == 0
    moment = make_due(row)
    assert (schedules.fire_due(), schedules.fire_due()) == (1, 0)
    made = Materialization.objects.get()
    row.refresh_from_db()
    assert (made.schedule, made.due_at, made.observation_ids) == (row, moment, [seen.observation_id])
    assert (row.last_run, row.last_outcome) == (made.run, "fired")
    assert row.next_due_at == moment + timedelta(seconds=60)
    run = made.run
    assert (run.source_plugin, run.actor_id, run.requested_by) == ("scheduler", row.schedule_id, "alice")
    assert run.metadata["schedule_id"] == row.schedule_id
    assert run.metadata["scheduled_for"] == clock.rfc3339(moment)
    assert "hello" in run.input_message["content"]


def test_missed_fires_are_one(source: ObservationSource) -> None:
    row = schedule(source)
    see(source)
    first = make_due(row, seconds=60 * 10 + 5)
    assert schedules.fire_due() == 1
    row.refresh_from_db()
    made = Materialization.objects.get()
    assert made.due_at == first + timedelta(seconds=600)
    assert row.next_due_at == first + timedelta(seconds=660) > clock.now()


def test_nothing_new_is_no_run(source: ObservationSource) -> None:
    row = schedule(source)
    see(source)
    make_due(row)
    schedules.fire_due()
    end_runs()
    make_due(row)
    assert schedules.fire_due() == 0
    row.refresh_from_db()
    assert row.last_outcome == "observation_selection_empty"
    assert row.next_due_at > clock.now()
    fresh = see(source)
    make_due(row)
    assert schedules.fire_due() == 1
    assert Materialization.objects.order_by("pk").last().observation_ids == [fresh.observation_id]


def test_all_may_be_shown_again(source: ObservationSource) -> None:
    row, seen = schedule(source, new_only=False), see(source)
    for _ in range(2):
        make_due(row)
        assert schedules.fire_due() == 1
        end_runs()
    shown = Materialization.objects.values_list("observation_ids", flat=True)
    assert list(shown) == [[seen.observation_id]] * 2


def test_a_fire_waits_for_the_run_before(source: ObservationSource) -> None:
    row = schedule(source)
    see(source)
    make_due(row)
    schedules.fire_due()
    see(source)
    make_due(row)
    assert schedules.fire_due() == 0
    end_runs()
    assert schedules.fire_due() == 1


def test_a_stream_is_looked_at_alone(source: ObservationSource) -> None:
    row = schedule(source, stream_id="left")
    wanted, _ = see(source, stream_id="left"), see(source, stream_id="right")
    make_due(row)
    schedules.fire_due()
    assert Materialization.objects.get().observation_ids == [wanted.observation_id]


def test_a_refusal_is_told_and_does_not_stop_the_others(source: ObservationSource) -> None:
    make_session("other")
    lost, well = schedule(source), schedule(source, session_id="other")
    see(source)
    sessions.end("desk", principal="alice", reason="over")
    for row in (lost, well):
        make_due(row)
    assert schedules.fire_due() == 1
    lost.refresh_from_db()
    assert lost.last_outcome == "session_ended"
    assert lost.last_run is None and lost.next_due_at > clock.now()
    assert Run.objects.get().session.session_id == "other"


def test_what_is_wrong_with_one_is_told_and_does_not_stop_the_others(source: ObservationSource) -> None:
    make_session("other")
    broken, well = schedule(source), schedule(source, session_id="other")
    see(source)
    for row in (broken, well):
        make_due(row)
    MaterializationSchedule.objects.filter(pk=broken.pk).update(options={})
    assert schedules.fire_due() == 1
    broken.refresh_from_db()
    assert (broken.last_outcome, broken.last_run) == ("internal_error", None)
    assert broken.next_due_at > clock.now()
    assert Run.objects.get().session.session_id == "other"


def test_a_source_that_refuses_later_is_not_looked_at(source: ObservationSource) -> None:
    row = schedule(source)
    see(source)
    sources.update("notes", {"allow_materialization": False}, expected=None)
    make_due(row)
    assert schedules.fire_due() == 0
    row.refresh_from_db()
    assert row.last_outcome == "observation_materialization_refused"


def test_two_workers_make_one_run(source: ObservationSource) -> None:
    row = schedule(source)
    see(source)
    make_due(row)
    now = clock.now()
    found = race(4, lambda number: schedules.fire(row.pk, now))
    assert [type(item) for item in found if item is not None] == [Materialization], found
    assert (Run.objects.count(), Materialization.objects.count()) == (1, 1)
    check_session(Run.objects.get().session_id)


@pytest.mark.parametrize(("point", "left"), [("before_commit", 0), ("after_commit", 1)])
def test_one_worker_dies_and_another_fires(
    point: str, left: int, source: ObservationSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = schedule(source)
    see(source)
    moment = make_due(row)

    def crash(here: str) -> None:
        if here == f"observation_schedule.{point}":
            raise Died(here)

    with monkeypatch.context() as patch:
        patch.setattr(schedules, "crashpoint", crash)
        with pytest.raises(Died):
            schedules.fire_due()
    assert Run.objects.count() == left
    assert schedules.fire_due() == 1 - left
    assert Materialization.objects.get().due_at == moment
    assert Run.objects.count() == 1


def test_the_keeper_of_one_worker_at_a_time_fires(source: ObservationSource) -> None:
    row = schedule(source)
    see(source)
    make_due(row)
    assert ticks.take(keeper.RIGHT, "other", seconds=60)
    mine = Keeper()
    mine.tick()
    assert not Run.objects.exists()
    ticks.give_back(keeper.RIGHT, "other")
    mine.drain()
    mine.tick()
    assert not Run.objects.exists()
    Keeper().tick()
    assert Run.objects.count() == 1


def test_a_worker_process_runs_the_keeper(
    source: ObservationSource, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KHEISH = replace(settings.KHEISH, sweep_seconds=0.1)
    row = schedule(source)
    see(source)
    make_due(row)
    fired, fire_due = threading.Event(), schedules.fire_due

    def told() -> int:
        done = fire_due()
        if done:
            fired.set()
        return done

    monkeypatch.setattr(schedules, "fire_due", told)
    [mine] = [part for part in ports.make_background() if isinstance(part, Keeper)]
    mine.start("worker-1")
    try:
        assert fired.wait(30)
    finally:
        mine.stop()
    assert Run.objects.count() == 1
    assert TickLease.objects.get(name=keeper.RIGHT).owner == ""


def test_over_http(source: ObservationSource) -> None:
    operator = make_client("operator")
    body = {"session_id": "desk", "prompt": "?", "interval_seconds": 60, "stream_id": "left"}
    made = operator.post(PATH, body)
    assert made.status_code == 201, made.content
    [item] = make_client("viewer").get(PATH).json()["items"]
    assert item == made.json()
    assert (item["new_only"], item["stream_id"], item["max_observations"]) == (True, "left", 3)
    one = f"{PATH}/{item['schedule_id']}"
    assert code_of(make_client("viewer").post(PATH, body)) == "insufficient_access"
    assert code_of(make_client("viewer").delete(one)) == "insufficient_access"
    assert operator.delete(one).status_code == 204
    assert code_of(operator.delete(one)) == "observation_schedule_not_found"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"interval_seconds": 4}, "invalid_request"),
        ({"session_id": "nobody"}, "session_not_found"),
        ({"prompt": ""}, "invalid_request"),
        ({"reply_targets": [{"plugin": "nowhere", "address": "x"}]}, "invalid_reply_target"),
        ({"colour": "red"}, "invalid_request"),
    ],
)
def test_refused_schedules(fields: dict[str, Any], code: str, source: ObservationSource) -> None:
    body = {"session_id": "desk", "prompt": "?", "interval_seconds": 60, **fields}
    assert code_of(make_client("operator").post(PATH, body)) == code
    assert not MaterializationSchedule.objects.exists()


def test_a_source_that_refuses_gets_no_schedule(source: ObservationSource) -> None:
    sources.update("notes", {"allow_materialization": False}, expected=None)
    body = {"session_id": "desk", "prompt": "?", "interval_seconds": 60}
    refused = make_client("operator").post(PATH, body)
    assert (refused.status_code, code_of(refused)) == (409, "observation_materialization_refused")


def test_a_schedule_answers_into_no_private_network(source: ObservationSource) -> None:
    sources.update("notes", {"allow_output_delivery": True}, expected=None)
    target = {"type": "http", "url": "http://127.0.0.1:9/hook", "allow_private_network": True}
    body = {"session_id": "desk", "prompt": "?", "interval_seconds": 60, "reply_targets": [target]}
    for role in ("operator", "admin"):
        assert code_of(make_client(role).post(PATH, body)) == "reply_target_forbidden"


def test_targets_are_judged_again_at_each_fire(source: ObservationSource) -> None:
    sources.update("notes", {"allow_output_delivery": True}, expected=None)
    make_connector("out", kind="slack", secrets=SLACK)
    slack = {"type": "slack", "connector": "out", "channel_id": "C024BE91L"}
    source.refresh_from_db()
    row = schedule(source, reply_targets=[slack])
    refused = make_client().delete("/v1/runtime/connectors/slack/out")
    assert (refused.status_code, code_of(refused)) == (409, "connector_in_use")
    assert refused.json()["referenced_by"] == [f"observation-schedule:{row.schedule_id}"]
    Session.objects.update(credential_scope={"connector_deny": ["out"]})
    see(source)
    make_due(row)
    assert schedules.fire_due() == 0
    row.refresh_from_db()
    assert row.last_outcome == "reply_target_forbidden"
    with pytest.raises(ReplyTargetForbidden):
        schedule(source, reply_targets=[slack])
