"""The parts around us die: the broker is flushed or gone, the database restarts. Rows lose nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from kheish_site.testing.servers import private_valkey
from tests.acceptance.conftest import Say, installed
from tests.support.service import Deployment
from tests.support.service_api import Api
from tests.support.service_process import until

pytestmark = [pytest.mark.slow, pytest.mark.services_only]
AWAY_SECONDS = 3.0


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator["Broker"]:
    """A Redis-compatible server that the test may kill and start again at its port."""
    broker = Broker(tmp_path / "valkey")
    yield broker
    broker.kill()


class Broker:
    """One server, one port, any number of lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process, self.url = private_valkey(folder)

    def kill(self) -> None:
        """SIGKILL it; nothing of what it held is left."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def start(self) -> None:
        """Start it at the same port."""
        self._process, _ = private_valkey(self._folder, port=int(self.url.rpartition(":")[2].split("/")[0]))


@contextmanager
def refused_by(database_url: str) -> Iterator[None]:
    """Cut every connection to the database and let nobody in until the block ends."""
    server, _, name = database_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_a_flushed_broker_costs_time_and_no_run(shared: Deployment, api: Api) -> None:
    route, session = api.script({"text": "done", "delay_ms": 150}), api.session()
    runs = []
    with Redis.from_url(shared.environment["KHEISH_REDIS_URL"]) as redis:
        for _ in range(6):
            runs.append(api.submit(session, route_id=route))
            redis.flushdb()
        for run in runs:
            redis.flushdb()
            api.until(run, "completed")
    assert [entry["kind"] for entry in api.journal(session)].count("run.completed") == 6


def test_a_dead_broker_delays_and_loses_nothing(
    prepared: Deployment, tmp_path: Path, own_broker: Broker
) -> None:
    with installed(prepared, tmp_path, KHEISH_REDIS_URL=own_broker.url) as own:
        own.start()
        api = Api(own.url, own.token)
        route, session = api.script({"text": "done", "delay_ms": 500}), api.session()
        before = api.submit(session, route_id=route)
        api.until_kind(before, "run.started")
        own_broker.kill()
        began = time.monotonic()
        during = api.submit(session, route_id=route)
        assert time.monotonic() - began < 2  # accepting work waits for no broker
        api.until(before, "completed")
        api.until(during, "completed")  # the sweep found it
        own_broker.start()
        after = api.submit(session, route_id=route)
        with api.stream(f"/v1/runs/{after}/stream") as frames:
            names = [frame.name for frame in frames]
        assert names[-1] == "run.ended" and "run.completed" in names
        api.journal(session)


def test_a_restarted_database_delays_and_loses_nothing(shared: Deployment, api: Api, say: Say) -> None:
    route = api.script({"text": "done", "delay_ms": 1000})
    sessions = [api.session() for _ in range(3)]
    runs = [api.submit(session, route_id=route) for session in sessions for _ in range(2)]
    api.until_kind(runs[0], "run.started")
    with refused_by(shared.environment["KHEISH_DATABASE_URL"]):
        until(lambda: shared.ask("GET", "/readyz")[0] == 503, 10, shared.words)
        assert shared.ask("GET", "/healthz")[0] == 200
        assert shared.ask("GET", f"/v1/runs/{runs[0]}")[0] == 503
        time.sleep(AWAY_SECONDS)
    back = time.monotonic()
    until(lambda: shared.ask("GET", "/readyz")[0] == 200, 20, shared.words)
    say(f"ready {time.monotonic() - back:.1f} s after the database came back")
    for run in runs:
        api.until(run, "completed", seconds=60)
    say(f"all runs completed {time.monotonic() - back:.1f} s after the database came back")
    for session in sessions:
        kinds = [entry["kind"] for entry in api.journal(session)]
        assert kinds.count("run.completed") == 2
    assert len(shared.workers()) == 2
