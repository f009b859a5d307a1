"""A stream outlives what its reader came by by seconds, and a socket opens nothing more for it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from sessions_app.models import ApiToken
from sessions_app.services import logins, people, tokens
from sessions_app.streams import hub
from tests.sessions_app.streams.helpers import Stream, append, in_thread, make_session, make_token
from tests.sessions_app.streams.test_websocket import close_code, connected

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "STANDING_SECONDS", 0.1)


def revoke_all() -> None:
    for token in ApiToken.objects.all():
        tokens.revoke(token.token_id)


def narrow() -> None:
    """A token has the name of an account that is closed: neither counts any more."""
    name = ApiToken.objects.get().name
    User.objects.create(username=name, is_active=False)


@pytest.mark.parametrize("path", ["/v1/events/stream", "/v1/sessions/desk/stream"])
@pytest.mark.parametrize("end", [revoke_all, narrow])
def test_a_stream_ends_with_what_opened_it(path: str, end: Any) -> None:
    make_session("desk")
    headers = {"Authorization": make_token()}

    async def scenario() -> None:
        async with Stream(path, headers=headers) as stream:
            assert stream.status == 200
            await in_thread(end)
            await asyncio.wait_for(stream.rest(), 10)

    asyncio.run(scenario())


def log_out(client: Client) -> None:
    client.logout()


def idle(client: Client) -> None:
    carried = client.session
    carried[logins.BORN] = carried[logins.SEEN] = (clock.now() - timedelta(days=2)).timestamp()
    carried.save()


@pytest.mark.parametrize("end", [log_out, idle])
def test_a_stream_ends_with_the_login_that_opened_it(end: Any) -> None:
    session = make_session("desk")
    person = User.objects.create_superuser("ann")
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(person)
    here, there = ({"Cookie": f"kheish_session={client.session.session_key}"} for client in clients)

    async def scenario() -> None:
        async with (
            Stream("/v1/sessions/desk/stream", headers=here) as goes,
            Stream("/v1/sessions/desk/stream", headers=there) as stays,
        ):
            await in_thread(end, clients[0])
            await asyncio.wait_for(goes.rest(), 10)
            await in_thread(append, session, n=1)
            (frame,) = await stays.take(1)
            assert frame.data["payload"] == {"n": 1}

    asyncio.run(scenario())


def test_a_stream_ends_with_the_password_of_its_login() -> None:
    """Somebody else may have had the old one, and read on."""
    make_session("desk")
    person, client = User.objects.create_superuser("ann"), Client()
    client.force_login(person)
    cookie = {"Cookie": f"kheish_session={client.session.session_key}"}

    async def scenario() -> None:
        async with Stream("/v1/sessions/desk/stream", headers=cookie) as goes:
            await in_thread(people.reset_password, person)
            await asyncio.wait_for(goes.rest(), 10)

    asyncio.run(scenario())


def test_others_read_on() -> None:
    session, other = make_session("desk"), {"Authorization": make_token()}
    token, secret = tokens.create(new_id("t"), role="viewer", created_by="tests")

    async def scenario() -> None:
        async with (
            Stream("/v1/sessions/desk/stream", headers=other) as stays,
            Stream("/v1/sessions/desk/stream", headers={"Authorization": f"Bearer {secret}"}) as goes,
        ):
            await in_thread(tokens.revoke, token.token_id)
            await asyncio.wait_for(goes.rest(), 10)
            await in_thread(append, session, n=1)
            (frame,) = await stays.take(1)
            assert frame.data["payload"] == {"n": 1}

    asyncio.run(scenario())


@pytest.mark.parametrize("follows", [True, False])
def test_a_socket_opens_nothing_more(follows: bool) -> None:
    make_session("desk")
    auth = make_token()

    async def scenario() -> None:
        async with connected(auth) as socket:
            if follows:
                await socket.ask(op="subscribe", topic="all")
            await in_thread(revoke_all)
            await socket.send_json_to({"op": "subscribe", "topic": "session:desk", "after": 0})
            assert await close_code(socket) in (4401, 4408)

    asyncio.run(scenario())
