"""A real service delivers to a real target: through deaths at every place of an attempt, and a restart.

Each place is here in one profile; ``manage.py torture`` kills at all of them in both.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import installed
from tests.acceptance.test_killed_at_points import Crash
from tests.support.http_target import HttpTarget
from tests.support.service import SERVICES, Deployment
from tests.support.service_api import Api, call
from tests.support.service_process import until

pytestmark = pytest.mark.slow
SETTLED = {"delivered", "dead_lettered", "unknown"}


@pytest.fixture(scope="module")
def crash(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    folder = tmp_path_factory.mktemp("crash")
    pace = {"KHEISH_DELIVERY_INITIAL_RETRY_MS": "50", "KHEISH_DELIVERY_MAX_RETRY_MS": "200"}
    with installed(
        prepared,
        folder,
        KHEISH_SWEEP_SECONDS="0.5",
        KHEISH_DELIVERY_CIRCUIT_FAILURE_THRESHOLD="0",
        **pace,
    ) as deployment:
        yield Crash(deployment, folder / "died")


def answer(api: Api, handle: dict[str, Any]) -> str:
    """A run that says two things to ``handle``; returns its session."""
    session = api.session(f"s-{uuid.uuid4().hex[:8]}", reply_targets=[handle])
    turns = ({"tool_calls": [call("emit_output", content="one")]}, {"text": "two"})
    api.submit(session, route_id=api.script(*turns))
    return session


def settled(api: Api, session: str) -> list[str]:
    """The states of both deliveries, oldest first, once they have left the queue."""
    found: list[str] = []

    def there() -> bool:
        page = api.client.patient_get(f"/v1/deliveries?session_id={session}")
        found[:] = [item["status"] for item in reversed(page["items"])]
        return len(found) == 2 and set(found) <= SETTLED

    until(there, 60, lambda: found)
    return found


@pytest.mark.parametrize(
    ("point", "plain", "accepted"),
    [
        ("delivery.sending", ["unknown", "delivered"], ["two"])
        if SERVICES
        else ("delivery.sent", ["unknown", "delivered"], ["one", "two"])
    ],
)
def test_a_worker_dies_sending(crash: Crash, point: str, plain: list[str], accepted: list[str]) -> None:
    with HttpTarget() as target:
        crash.move_to(point)
        crash.arm()
        session = answer(crash.api, target.handle)
        crash.died_at()
        assert settled(crash.api, session) == plain
        assert target.says() == accepted
        assert len(target.arrivals) == len(accepted)  # nothing was sent twice
        kinds = [entry["kind"] for entry in crash.api.journal(session)]
        assert kinds.count("delivery.queued") == 2
        assert kinds.count("delivery.unknown") == plain.count("unknown")

        crash.arm()
        session = answer(crash.api, target.keyed)
        crash.died_at()
        assert settled(crash.api, session) == ["delivered", "delivered"]
        assert target.says() == [*accepted, "one", "two"]  # what came twice was recognised


@pytest.mark.services_only
def test_a_worker_dies_between_two_deliveries(crash: Crash) -> None:
    """The commit that settled the first may have begun the second, which then is in doubt: it never left."""
    with HttpTarget() as target:
        crash.move_to("delivery.settled")
        crash.arm()
        session = answer(crash.api, target.handle)
        crash.died_at()
        first, second = settled(crash.api, session)
        assert first == "delivered" and second in ("delivered", "unknown")
        assert target.says() == ["one", "two"][: 1 + (second == "delivered")]
        assert len(target.arrivals) == len(target.accepted)


@pytest.mark.embedded_only
def test_what_waits_survives_the_end_of_everything(own: Deployment) -> None:
    own.environment |= {"KHEISH_DELIVERY_INITIAL_RETRY_MS": "5000"}
    own.start()
    with HttpTarget() as target:
        target.down()
        api = Api(own.url, own.token)
        session = answer(api, target.handle)

        def tried() -> bool:
            page = api.client.get(f"/v1/deliveries?session_id={session}")
            return len(page["items"]) == 2 and page["items"][1]["status"] == "retrying"

        until(tried, 30, lambda: api.client.get("/v1/deliveries"))
        own.kill()
        target.up()
        own.start()
        assert settled(Api(own.url, own.token), session) == ["delivered", "delivered"]
        assert target.says() == ["one", "two"]
