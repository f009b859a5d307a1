"""Giving work: accepted before anything happens, in order, one at a time, whoever listens."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from kheish_site.cli.client import path
from tests.support.service_api import Api, refused

pytestmark = pytest.mark.slow

RACERS = 8


def test_submit_answers_before_the_model_is_called(api: Api):
    slow = api.script({"text": "late", "delay_ms": 3000})
    session = api.session()
    began = time.monotonic()
    answer = api.client.exchange(
        "POST", path("sessions", session, "runs"), {"content": "x", "route_id": slow}
    )
    assert time.monotonic() - began < 2
    assert (answer.status, answer.body["status"], answer.body["step"]) == (202, "queued", 0)
    assert answer.headers["location"] == f"/v1/runs/{answer.body['run_id']}"
    api.until_kind(answer.body["run_id"], "run.started")
    assert api.run(answer.body["run_id"])["status"] == "running"
    done = api.until(answer.body["run_id"], "completed")
    assert done["outputs"][0]["content"] == "late"
    assert api.kinds(done["run_id"])[:3] == ["run.accepted", "run.queued", "run.started"]


def test_a_client_that_hangs_up_changes_nothing(api: Api):
    route, session = api.script({"text": "on my own", "delay_ms": 700}), api.session()
    address = urlsplit(api.url)
    wire = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    headers = {
        "Authorization": f"Bearer {api.token}",
        "Content-Type": "application/json",
        "Prefer": "wait=30",
    }
    body = json.dumps({"content": "x", "route_id": route})
    wire.request("POST", f"/v1/sessions/{session}/input", body, headers)
    listing = {"session_id": session}
    while not (found := api.client.page(path("runs"), query=listing)["items"]):
        time.sleep(0.02)
    wire.close()
    run_id = found[0]["run_id"]
    with api.stream(f"/v1/runs/{run_id}/stream", cursor="0") as events:
        next(events)  # and this reader hangs up as well
    assert api.until(run_id, "completed")["outputs"][0]["content"] == "on my own"
    assert len(api.client.page(path("runs"), query=listing)["items"]) == 1


def test_racing_submitters_get_one_active_run_at_a_time_in_order(api: Api):
    route, session = api.script({"text": "{{ input }}", "delay_ms": 150}), api.session()
    barrier = threading.Barrier(RACERS)

    def submit(number: int) -> str:
        barrier.wait(10)
        return api.submit(session, f"n{number}", route_id=route)

    with ThreadPoolExecutor(RACERS) as pool:
        submitted = list(pool.map(submit, range(RACERS)))
        following = api.submit(session, "after all", route_id=route)
        api.until(following, "completed")
    entries = api.journal(session)
    assert _most_active(entries) == 1
    accepted = [entry["run_id"] for entry in entries if entry["kind"] == "run.accepted"]
    assert sorted(accepted) == sorted([*submitted, following]) and accepted[-1] == following
    for kind in ("run.started", "run.completed"):
        assert [entry["run_id"] for entry in entries if entry["kind"] == kind] == accepted
    for number, run_id in enumerate(submitted):
        assert api.run(run_id)["outputs"][0]["content"] == f"n{number}"


def test_queued_runs_know_their_place_and_other_sessions_are_not_held_up(api: Api):
    slow, quick = api.script({"text": "s", "delay_ms": 30_000}), api.script({"text": "q"})
    held, free = api.session(), api.session()
    first, *queued = [api.submit(held, route_id=slow) for _ in range(3)]
    api.until(first, "running")
    assert [api.run(run_id)["queued_position"] for run_id in queued] == [1, 2]
    others = [api.submit(free, route_id=quick) for _ in range(3)]
    for run_id in others:
        api.until(run_id, "completed")
    assert api.run(first)["status"] == "running"
    for run_id in [*queued, first]:
        api.client.runs(run_id).cancel()
        assert api.until(run_id, "cancelled")["status"] == "cancelled"
    assert "run.started" not in api.kinds(queued[1])


def test_the_same_key_gives_the_same_run_and_another_body_is_refused(api: Api):
    route, session = api.script({"text": "once"}), api.session()
    target, key = path("sessions", session, "runs"), {"Idempotency-Key": f"key-{session}"}
    body = {"content": "x", "route_id": route}
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: api.client.exchange("POST", target, body, headers=key).body, range(4)))
    assert len({run["run_id"] for run in runs}) == 1
    other = refused(lambda: api.client.exchange("POST", target, body | {"content": "y"}, headers=key))
    assert (other.status, other.code) == (409, "idempotency_conflict")
    api.until(runs[0]["run_id"], "completed")


def _most_active(entries: list[dict]) -> int:
    """How many runs of the journal were started and not ended at the same time, at most."""
    active, most = set(), 0
    for entry in entries:
        if entry["kind"] == "run.started":
            active.add(entry["run_id"])
        elif entry["kind"] in ("run.completed", "run.failed", "run.cancelled", "run.interrupted"):
            active.discard(entry["run_id"])
        most = max(most, len(active))
    return most
