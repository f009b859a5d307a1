"""Asked to stop while work is in flight: exit 0, nothing lost, and the run goes on afterwards.

`serve` drains its children in the same way on either database; who takes a worker's runs over differs.
"""

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import installed
from tests.support.service import Deployment, Fleet, Service
from tests.support.service_api import Api, call
from tests.support.service_process import POLL_SECONDS, until

pytestmark = pytest.mark.slow

TWO_STEPS = (
    {"text": "first", "delay_ms": 1500, "tool_calls": [call("list_files", base=".")]},
    {"text": "second"},
)


@pytest.fixture(scope="module")
def draining(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A `manage.py serve` that lets steps in flight go on for three seconds, not started."""
    with installed(prepared, tmp_path_factory.mktemp("draining"), Service, KHEISH_DRAIN_SECONDS="3") as made:
        yield made


@pytest.fixture
def stoppable(draining: Service) -> Service:
    """The same, running, with nothing in flight; the test stops it."""
    if not draining.is_running:
        draining.start()
        api = Api(draining.url, draining.token)
        for run in list(api.client.pages("/v1/runs", query={"status": "running"})):
            api.client.runs(run["run_id"]).cancel()
            api.until(run["run_id"], "cancelled")
    return draining


class Watching:
    """Notes every status of `/readyz` while the block runs; 0 is nobody at home."""

    def __init__(self, url: str) -> None:
        self.seen: list[int] = []
        self._url = f"{url}/readyz"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watching":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                with urllib.request.urlopen(self._url, timeout=5) as answer:
                    self.seen.append(answer.status)
            except urllib.error.HTTPError as refusal:
                self.seen.append(refusal.code)
            except OSError:
                self.seen.append(0)


@pytest.mark.embedded_only
def test_ctrl_c_finishes_the_step_in_flight_and_the_run_goes_on_at_the_next_start(stoppable: Service):
    api = Api(stoppable.url, stoppable.token)
    session, run_id = api.start(*TWO_STEPS)
    _, waiting = api.start({"tool_calls": [call("bash", command="true")]}, {"text": "allowed"})
    api.until(waiting, "waiting_for_approval")
    api.until(run_id, "running")
    said = stoppable.words().count("Stopped.")
    with Watching(stoppable.url) as readiness:
        until(lambda: readiness.seen, 5, lambda: "nobody answers")
        assert stoppable.stop(signal.SIGINT) == 0
    assert set(readiness.seen) >= {200, 503} and readiness.seen[0] == 200
    assert stoppable.words().count("Stopped.") == said + 1
    stoppable.start()
    view = api.until(run_id, "completed")
    assert (view["outputs"][0]["content"], view["recovered_count"]) == ("second", 0)
    kinds = [entry["kind"] for entry in api.journal(session)]
    assert kinds.count("tool.planned") == 1, kinds  # the first answer was kept
    assert kinds.count("run.queued") == 2  # accepted, and handed on
    api.allow(waiting)
    api.until(waiting, "completed")


@pytest.mark.embedded_only
def test_a_step_that_outlasts_the_grace_is_taken_up_again(stoppable: Service):
    api = Api(stoppable.url, stoppable.token)
    session, run_id = api.start({"text": "slowly", "delay_ms": 9000}, {"text": "never"})
    api.until(run_id, "running")
    began = time.monotonic()
    assert stoppable.stop() == 0
    assert time.monotonic() - began < 9
    stoppable.start()
    assert api.until(run_id, "running", "completed")["run_id"] == run_id
    api.client.runs(run_id).cancel()
    api.until(run_id, "cancelled")
    api.journal(session)


@pytest.mark.embedded_only
def test_a_second_ctrl_c_does_not_wait(stoppable: Service):
    api = Api(stoppable.url, stoppable.token)
    _, run_id = api.start({"text": "slowly", "delay_ms": 60_000})
    api.until(run_id, "running")
    said, began = stoppable.words().count("Stopping:"), time.monotonic()
    os.kill(stoppable.pid, signal.SIGINT)
    # A second signal before the first was heard would be the same one.
    until(lambda: stoppable.words().count("Stopping:") > said, 5, stoppable.words)
    assert stoppable.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 3


@pytest.mark.services_only
def test_a_worker_that_is_asked_to_leave_hands_its_runs_to_the_other(own: Deployment):
    assert isinstance(own, Fleet)
    own.start()
    api = Api(own.url, own.token)
    started = [api.start(*TWO_STEPS) for _ in range(6)]
    for _, run_id in started:
        api.until(run_id, "running", "completed")
    assert own.dismiss(own.workers()[0]) == 0
    assert len(own.workers()) == 1
    for session, run_id in started:
        view = api.until(run_id, "completed")
        assert (view["outputs"][0]["content"], view["recovered_count"]) == ("second", 0)
        assert [entry["kind"] for entry in api.journal(session)].count("tool.planned") == 1
