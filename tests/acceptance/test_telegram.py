"""A polling bot on a real service: killed after an update was taken, and before Telegram knows."""

import pytest

from tests.acceptance.conftest import SERVICES
from tests.connectors_app.kinds.telegram.rows import text_update
from tests.support.service import Deployment
from tests.support.service_api import Api
from tests.support.service_process import until
from tests.support.telegram_server import TOKEN, TelegramServer

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


def test_a_killed_poller_loses_nothing_and_repeats_nothing(own: Deployment) -> None:
    fast = {"KHEISH_LEASE_SECONDS": "3", "KHEISH_SWEEP_SECONDS": "0.2"}
    marker = own.state_dir / "killed"
    own.start(KHEISH_CRASHPOINT="telegram.taken", KHEISH_CRASHPOINT_ONCE=str(marker), **fast)
    crew = set(own.workers())
    api = Api(own.url, own.token)
    route = api.script({"text": "{{ input }}"}, route_id="echo")
    with TelegramServer() as server:
        server.arrive(*(text_update(number, f"message {number}") for number in (1, 2, 3)))
        settings = {"ingress_mode": "polling", "api_base_url": server.url, "polling_timeout_seconds": 20}
        body = {"settings": settings, "secrets": {"bot_token": {"value": TOKEN}}}
        status, said = own.ask("PUT", "/v1/runtime/connectors/telegram/desk", body)
        assert status in (200, 201), said
        until(marker.exists, 30, own.words)
        until(lambda: crew - set(own.workers()), 30, lambda: "the marker was made, and nobody died")
        if SERVICES:
            own.revive(**fast)
        server.wait_until(lambda: server.polling and not server.pending, 60)
        _, found = own.ask("GET", "/v1/runs?session_id=telegram:desk:100&limit=100")
        texts = sorted(run["input_items"][0]["text"] for run in found["items"])
        assert texts == ["message 1", "message 2", "message 3"], route
    assert own.stop() == 0
    assert TOKEN not in own.words()
