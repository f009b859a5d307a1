"""``/ws/v1``: many streams over one socket, the same cursors, and who may open one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.test import Client, override_settings

from kheish_site.asgi import application
from sessions_app.streams.consumers import PROTOCOL
from tests.sessions_app.streams.helpers import (
    append,
    finish,
    in_thread,
    make_run,
    make_session,
    make_token,
    say_until_heard,
)

pytestmark = pytest.mark.django_db(transaction=True)


class Socket(WebsocketCommunicator):
    """A client of the real application."""

    def __init__(
        self, path: str = "/ws/v1", subprotocols: tuple[str, ...] = (PROTOCOL,), **headers: str
    ) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        super().__init__(
            application, path, headers=[(b"host", b"localhost"), *raw], subprotocols=list(subprotocols)
        )

    async def ask(self, **message: Any) -> Any:
        await self.send_json_to(message)
        return await self.receive_json_from(timeout=5)


@asynccontextmanager
async def connected(authorization: str) -> AsyncIterator[Socket]:
    socket = Socket(Authorization=authorization)
    assert await socket.connect(timeout=5) == (True, PROTOCOL)
    yield socket
    await socket.disconnect(timeout=5)


async def close_code(socket: Socket) -> int:
    message = await socket.receive_output(timeout=5)
    while message["type"] != "websocket.close":
        message = await socket.receive_output(timeout=5)
    return int(message["code"])


def test_a_session_from_the_start_then_live() -> None:
    session, auth = make_session(), make_token()
    append(session, n=1)

    async def scenario() -> None:
        async with connected(auth) as socket:
            topic = f"session:{session.session_id}"
            answer = await socket.ask(op="subscribe", topic=topic, after=0, id="a")
            assert answer == {"op": "subscribed", "topic": topic, "cursor": "0", "id": "a"}
            await in_thread(append, session, n=2)
            first, second = [await socket.receive_json_from(timeout=5) for _ in range(2)]
        assert [(m["topic"], m["seq"], m["type"], m["cursor"]) for m in (first, second)] == [
            (topic, 1, "message.created", "1"),
            (topic, 2, "message.created", "2"),
        ]
        assert second["data"]["payload"] == {"n": 2}
        assert second["at"] == second["data"]["at"]

    asyncio.run(scenario())


def test_many_topics_over_one_socket() -> None:
    sessions, auth = [make_session() for _ in range(10)], make_token()

    async def scenario() -> None:
        async with connected(auth) as socket:
            for session in sessions:
                await socket.ask(op="subscribe", topic=f"session:{session.session_id}", after=0)
            await socket.ask(op="subscribe", topic="all")
            for session in sessions:
                await in_thread(append, session)
            messages = [await socket.receive_json_from(timeout=5) for _ in range(20)]
        for topic in [f"session:{session.session_id}" for session in sessions]:
            assert [m["seq"] for m in messages if m["topic"] == topic] == [1]
        assert [m["data"]["session_id"] for m in messages if m["topic"] == "all"] == [
            session.session_id for session in sessions
        ]

    asyncio.run(scenario())


def test_resuming_everything_by_its_cursor() -> None:
    session, auth = make_session(), make_token()
    for _ in range(4):
        append(session)

    async def scenario() -> None:
        async with connected(auth) as socket:
            await socket.ask(op="subscribe", topic="all", after=0)
            second = [await socket.receive_json_from(timeout=5) for _ in range(4)][1]
        async with connected(auth) as socket:
            await socket.ask(op="subscribe", topic="all", after=second["cursor"])
            assert [(await socket.receive_json_from(timeout=5))["seq"] for _ in range(2)] == [3, 4]

    asyncio.run(scenario())


def test_a_run_ends_its_topic() -> None:
    session, auth = make_session(), make_token()
    run = make_run(session)
    topic = f"run:{run.run_id}"

    async def scenario() -> None:
        async with connected(auth) as socket:
            await socket.ask(op="subscribe", topic=topic)
            await in_thread(finish, run)
            types = [(await socket.receive_json_from(timeout=5))["type"] for _ in range(3)]
            assert types == ["run.accepted", "run.completed", "run.ended"]
            await socket.ask(op="subscribe", topic=topic, after=2)
            again = await socket.receive_json_from(timeout=5)
            assert (again["type"], again["data"]["status"]) == ("run.ended", "completed")
            assert (await socket.ask(op="ping", id=7)) == {"op": "pong", "id": 7}

    asyncio.run(scenario())


def test_unsubscribed_topics_are_silent() -> None:
    session, auth = make_session(), make_token()

    async def scenario() -> None:
        async with connected(auth) as socket:
            topic = f"session:{session.session_id}"
            await socket.ask(op="subscribe", topic=topic)
            assert (await socket.ask(op="unsubscribe", topic=topic))["op"] == "unsubscribed"
            await in_thread(append, session)
            assert await socket.receive_nothing(timeout=0.2)

    asyncio.run(scenario())


def test_live_text() -> None:
    session, auth = make_session(), make_token()

    async def scenario() -> None:
        async with connected(auth) as socket:
            await socket.ask(op="subscribe", topic=f"session:{session.session_id}")
            message = await say_until_heard(session, "hello", socket.receive_json_from(timeout=5))
        assert (message["type"], message["seq"], message["data"]["text"]) == ("message.delta", None, "hello")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"op": "subscribe", "topic": "session:nowhere"}, "session_not_found"),
        ({"op": "subscribe", "topic": "run:run_nowhere"}, "run_not_found"),
        ({"op": "subscribe", "topic": "all", "after": 7}, "invalid_event_cursor"),
        ({"op": "subscribe", "topic": "weather"}, "invalid_message"),
        ({"op": "publish"}, "invalid_message"),
        ({"op": "subscribe", "topic": "session:\ud800"}, "invalid_message"),
        ({"op": "ping", "id": "\ud800"}, "invalid_message"),
    ],
)
def test_a_bad_message_is_answered_and_the_socket_stays(message: dict[str, Any], code: str) -> None:
    auth = make_token()

    async def scenario() -> None:
        async with connected(auth) as socket:
            answer = await socket.ask(**message)
            assert (answer["op"], answer["code"]) == ("error", code)
            assert (await socket.ask(op="ping"))["op"] == "pong"

    asyncio.run(scenario())


def test_more_topics_than_allowed() -> None:
    sessions, auth = [make_session() for _ in range(101)], make_token()

    async def scenario() -> None:
        async with connected(auth) as socket:
            answers = [
                await socket.ask(op="subscribe", topic=f"session:{session.session_id}")
                for session in sessions
            ]
        assert [answer.get("code") for answer in answers] == [None] * 100 + ["too_many_topics"]

    asyncio.run(scenario())


@pytest.mark.parametrize("authorization", ["", "Bearer kh_" + "x" * 43, "Basic abc"])
def test_strangers_are_told_4401(authorization: str) -> None:
    async def scenario() -> int:
        socket = Socket(Authorization=authorization)
        await socket.connect(timeout=5)
        return await close_code(socket)

    assert asyncio.run(scenario()) == 4401


def test_a_login_counts_only_on_our_own_pages(django_user_model: Any) -> None:
    user = django_user_model.objects.create(username="ada", is_superuser=True)
    nobody = django_user_model.objects.create(username="nobody")

    async def outcome(cookie: str, origin: str, host: str = "localhost") -> int:
        more = {"Origin": origin} if origin else {}
        socket = Socket(Cookie=cookie, **more)
        socket.scope["headers"][0] = (b"host", host.encode())
        accepted, _ = await socket.connect(timeout=5)
        if not accepted:
            return 403
        await socket.send_json_to({"op": "ping"})
        message = await socket.receive_output(timeout=5)
        await socket.disconnect(timeout=5)
        return int(message["code"]) if message["type"] == "websocket.close" else 0

    def cookie(person: Any) -> str:
        client = Client()
        client.force_login(person)
        return client.cookies["kheish_session"].output(header="").split(";")[0].strip()

    ours = cookie(user)
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://console.example"]):
        for origin, host, code in (
            ("http://localhost", "localhost", 0),
            ("http://localhost:8000", "localhost:8000", 0),
            ("http://[::1]:8000", "[::1]:8000", 0),
            ("https://console.example", "localhost", 0),
            ("https://localhost", "localhost", 0),  # behind a proxy that ends TLS
            ("https://localhost:443", "localhost", 0),
            ("http://localhost:9000", "localhost:8000", 4403),
            ("http://evil.example", "localhost", 403),
            ("http://evil.example", "evil.example", 403),
            ("http://localhost:x", "localhost", 403),
            ("http://[::1", "[::1]", 403),
            ("ftp://localhost", "localhost", 403),
            ("null", "localhost", 403),
            ("", "localhost", 4403),
        ):
            assert asyncio.run(outcome(ours, origin, host)) == code, (origin, host)
    with override_settings(SESSION_COOKIE_SECURE=True):
        assert asyncio.run(outcome(ours, "http://localhost")) == 4403
        assert asyncio.run(outcome(ours, "https://localhost")) == 0
    assert asyncio.run(outcome(cookie(nobody), "http://localhost")) == 4403
    assert asyncio.run(outcome("kheish_session=stale", "http://localhost")) == 4401


def test_an_old_socket_is_told_4408(settings: Any) -> None:
    session, auth = make_session(), make_token()
    short = settings.KHEISH.__class__(**{**vars(settings.KHEISH), "stream_max_seconds": 0.2})

    async def scenario(topic: str) -> int:
        socket = Socket(Authorization=auth)
        await socket.connect(timeout=5)
        if topic:
            await socket.ask(op="subscribe", topic=topic)
        return await close_code(socket)

    with override_settings(KHEISH=short):
        assert asyncio.run(scenario("")) == 4408
        assert asyncio.run(scenario(f"session:{session.session_id}")) == 4408


def test_a_socket_that_sent_its_share_is_told_4408(settings: Any) -> None:
    session, auth = make_session(), make_token()
    for _ in range(20):
        append(session, text="x" * 10_000)
    small = settings.KHEISH.__class__(**{**vars(settings.KHEISH), "stream_max_bytes": 65_536})

    async def scenario() -> int:
        socket = Socket(Authorization=auth)
        await socket.connect(timeout=5)
        await socket.ask(op="subscribe", topic="all", after=0)
        return await close_code(socket)

    with override_settings(KHEISH=small):
        assert asyncio.run(scenario()) == 4408


def test_another_subprotocol_and_another_path_are_refused() -> None:
    auth = make_token()

    async def refused(path: str, *subprotocols: str) -> bool:
        accepted, _ = await Socket(path, subprotocols, Authorization=auth).connect(timeout=5)
        return not accepted

    assert asyncio.run(refused("/ws/v1", "graphql-ws"))
    assert asyncio.run(refused("/ws/v2", PROTOCOL))
    assert asyncio.run(refused("/", PROTOCOL))
    assert not asyncio.run(refused("/ws/v1"))
