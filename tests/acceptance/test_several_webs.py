"""`serve` with two web processes on its one address: each serves alone what the other does."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.conftest import installed
from tests.support.service import Deployment, Service
from tests.support.service_api import Api
from tests.support.service_process import children_of, kill, until

pytestmark = [pytest.mark.slow, pytest.mark.services_only]


@pytest.fixture(scope="module")
def twins(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with installed(prepared, tmp_path_factory.mktemp("twins"), Service, KHEISH_WEB_PROCESSES="2") as made:
        made.start()
        yield made
        assert made.stop() == 0


def webs(service: Service) -> list[int]:
    return sorted(pid for pid, command in children_of(service.pid).items() if "-m daphne" in command)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_each_web_process_serves_alone(twins: Service) -> None:
    api = Api(twins.url, twins.token)
    session, route = api.session(), api.script({"text": "one"}, {"text": "two"})
    target, last, seen = f"/v1/sessions/{session}/stream", "", list[int]()
    one, other = webs(twins)
    for idle in (one, other):
        with frozen(idle):
            run_id = api.submit(session, route_id=route)
            with api.stream(target, last=last, cursor="" if last else "0") as events:
                for event in events:
                    if event.id:
                        last = event.id
                        seen.append(event.data["seq"])
                    if event.name == "run.completed":
                        break
            assert api.run(run_id)["status"] == "completed"
    assert seen == [entry["seq"] for entry in api.journal(session)]


def test_a_killed_web_process_refuses_nobody_and_comes_back(twins: Service) -> None:
    first, second = webs(twins)
    kill(first)
    answers = {twins.ask("GET", "/v1/status")[0] for _ in range(20)}
    assert answers == {200}
    until(lambda: len(webs(twins)) == 2 and first not in webs(twins), 15, twins.words)
    with frozen(second):
        assert twins.ask("GET", "/readyz")[0] == 200
