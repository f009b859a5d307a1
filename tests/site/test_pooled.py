"""Short requests share threads and connections; long ones keep Django's own handler."""

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import connection

from kheish_site.lib.transactions import leave_connection
from kheish_site.pooled import PooledHandler, short_requests
from tests.factories import make_client

pytestmark = pytest.mark.django_db(transaction=True)


def scope(path: str, method: str = "GET", **headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


async def ask(app: Any, wanted: dict[str, Any], body: bytes = b"") -> tuple[int, dict[bytes, bytes], bytes]:
    talk = ApplicationCommunicator(app, wanted)
    await talk.send_input({"type": "http.request", "body": body})
    head = await talk.receive_output(20)
    answer = await talk.receive_output(20)
    await talk.wait(20)
    return head["status"], dict(head["headers"]), answer["body"]


def test_it_answers_as_django_does() -> None:
    handler = PooledHandler()
    token = make_client()._credentials["HTTP_AUTHORIZATION"]
    sent = {
        "host": "localhost",
        "authorization": token,
        "content_length": "1",
        "content_type": "application/json",
    }

    async def talk() -> list[Any]:
        return [
            await ask(handler, scope("/v1/sessions", host="localhost", authorization=token)),
            await ask(handler, scope("/v1/sessions", host="localhost")),
            await ask(handler, scope("/v1/nowhere", host="localhost")),
            await ask(handler, scope("/v1/sessions", "POST", **sent), b"{"),
            await ask(handler, scope("/v1/sessions", host="evil.example")),
        ]

    answers = asyncio.run(talk())
    assert [status for status, _, _ in answers] == [200, 401, 404, 400, 400]
    assert all(headers[b"Content-Type"].startswith(b"application/") for _, headers, _ in answers[1:4])


def test_a_client_that_leaves_early_is_let_go() -> None:
    async def talk() -> None:
        leaver = ApplicationCommunicator(PooledHandler(), scope("/v1/sessions", host="localhost"))
        await leaver.send_input({"type": "http.disconnect"})
        await leaver.wait(5)

    asyncio.run(talk())


def test_a_broken_connection_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    monkeypatch.setattr(connection, "errors_occurred", True)
    leave_connection()
    assert connection.connection is None


@pytest.mark.parametrize(
    ("wanted", "short"),
    [
        (scope("/v1/connectors/http/alerts", "POST"), True),
        (scope("/healthz"), False),
        (scope("/v1/sessions/desk/runs", "POST", content_length="65536"), True),
        (scope("/v1/sessions/desk/runs", "POST", content_length="65537"), False),
        (scope("/v1/connectors/slack/ops", "POST"), False),
        (scope("/v1/sessions/desk/stream"), False),
        (scope("/v1/assets/asset_1/raw"), False),
        (scope("/v1/sessions/desk/input", "POST", prefer="wait=30"), False),
        (scope("/admin/"), False),
        (scope("/static/app.css"), False),
    ],
)
def test_who_answers_what(wanted: dict[str, Any], short: bool) -> None:
    asked: list[str] = []

    def noting(name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            asked.append(name)

        return app

    asyncio.run(short_requests(noting("short"), noting("long"))(wanted, None, None))
    assert asked == ["short" if short else "long"]
