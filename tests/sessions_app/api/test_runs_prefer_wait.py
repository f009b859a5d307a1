"""``Prefer: wait``: the answer comes when the run has settled, waits for a person, or the time is over."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.db import connections

from kheish_site.lib.transactions import write
from sessions_app.api.prefer import wait_seconds
from sessions_app.models import Run, RunStatus
from sessions_app.services import patience, run_state
from tests.sessions_app.api.rows import caller, make_session

pytestmark = pytest.mark.django_db(transaction=True)


def later(act: Callable[[Run], None]) -> threading.Thread:
    """Do ``act`` with the first run that appears, as a worker would."""

    def work() -> None:
        try:
            deadline = time.monotonic() + 10
            while (run := Run.objects.select_related("session").first()) is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            act(run)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def finish(run: Run) -> None:
    for status in (RunStatus.RUNNING, RunStatus.COMPLETED):
        run_state.transition(run, status, session_id="desk")


def suspend(run: Run) -> None:
    for status in (RunStatus.RUNNING, RunStatus.WAITING_FOR_APPROVAL):
        run_state.transition(run, status, session_id="desk")


@pytest.mark.parametrize(
    ("act", "status", "run_status"), [(finish, 200, "completed"), (suspend, 202, "waiting_for_approval")]
)
def test_the_answer_comes_with_the_end_or_the_wait(
    act: Callable[[Run], None], status: int, run_status: str
) -> None:
    make_session()
    worker = later(act)
    answer = caller().post("/v1/sessions/desk/input", {"content": "go"}, headers={"Prefer": "wait=20"})
    worker.join()
    assert (answer.status_code, answer.json()["status"]) == (status, run_status)
    assert answer["Preference-Applied"] == "wait=20"
    assert answer["Location"] == f"/v1/runs/{answer.json()['run_id']}"


def test_time_runs_out() -> None:
    make_session()
    begun = time.monotonic()
    answer = caller().post("/v1/sessions/desk/input", {"content": "go"}, headers={"Prefer": "wait=1"})
    assert 0.9 < time.monotonic() - begun < 5
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer["Preference-Applied"] == "wait=1"


def test_a_long_wait_is_the_longest() -> None:
    for told, seconds in (("99999999999", 60), ("9" * 5000, 60), ("000000000007", 7), ("0", 0)):
        request = SimpleNamespace(headers={"Prefer": f"respond-async, wait={told}"})
        assert wait_seconds(request) == seconds


@pytest.mark.parametrize("header", ["", "wait=0", "wait=-1", "wait=soon", "respond-async", "wait=1.5"])
def test_what_asks_for_no_wait_gets_none(header: str) -> None:
    make_session()
    answer = caller().post("/v1/sessions/desk/input", {"content": "go"}, headers={"Prefer": header})
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer


def test_a_repeat_waits_for_the_same_run() -> None:
    make_session()
    client, headers = caller(), {"Prefer": "wait=20", "Idempotency-Key": "k"}
    first = client.post("/v1/sessions/desk/input", {"content": "go"}, headers={"Idempotency-Key": "k"})
    worker = later(finish)
    again = client.post("/v1/sessions/desk/input", {"content": "go"}, headers=headers)
    worker.join()
    assert again.json()["run_id"] == first.json()["run_id"]
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert Run.objects.count() == 1


def test_runs_does_not_wait() -> None:
    make_session()
    begun = time.monotonic()
    answer = caller().post("/v1/sessions/desk/runs", {"content": "go"}, headers={"Prefer": "wait=30"})
    assert answer.status_code == 202
    assert time.monotonic() - begun < 5


def test_when_every_place_is_taken_nobody_waits() -> None:
    make_session()
    taken = [patience._PLACES.acquire(blocking=False) for _ in range(patience.MOST_WAITERS)]
    try:
        answer = caller().post("/v1/sessions/desk/input", {"content": "go"}, headers={"Prefer": "wait=30"})
    finally:
        for _ in filter(None, taken):
            patience._PLACES.release()
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer


def test_no_transaction_may_be_open_during_a_wait() -> None:
    with write(), pytest.raises(RuntimeError):
        patience.until(lambda: True, 1)
