"""SSE on one session: from the start, from a cursor, live, and the refusals."""

import asyncio
from typing import Any

import pytest
from django.test import Client, override_settings

from tests.sessions_app.streams.helpers import (
    Stream,
    append,
    in_thread,
    make_session,
    make_token,
    say_until_heard,
)

pytestmark = pytest.mark.django_db(transaction=True)


def headers(role: str = "viewer", **more: str) -> dict[str, str]:
    return {"Authorization": make_token(role), **more}


def test_from_the_start_then_live() -> None:
    session, auth = make_session(), headers()
    for n in range(3):
        append(session, n=n)

    async def scenario() -> None:
        async with Stream(f"/v1/sessions/{session.session_id}/stream", headers=auth, cursor="0") as stream:
            assert stream.status == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"].startswith("no-cache")
            assert stream.headers["x-accel-buffering"] == "no"
            backlog = await stream.take(3)
            await in_thread(append, session, n=3)
            (live,) = await stream.take(1)
        assert stream.retry
        assert [frame.id for frame in (*backlog, live)] == ["1", "2", "3", "4"]
        assert live.event == "message.created"
        assert live.data["session_id"] == session.session_id
        assert live.data["seq"] == 4
        assert live.data["payload"] == {"n": 3}
        assert live.data["prev_hash"] == backlog[-1].data["hash"]

    asyncio.run(scenario())


def test_without_a_cursor_only_what_happens_from_now_on() -> None:
    session, auth = make_session(), headers()
    append(session)

    async def scenario() -> None:
        async with Stream(f"/v1/sessions/{session.session_id}/stream", headers=auth) as stream:
            await in_thread(append, session, n="new")
            (frame,) = await stream.take(1)
        assert frame.id == "2"

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/sessions/{}/stream", "/v1/events/stream?session_id={}"])
def test_whoever_is_cut_off_before_the_first_event_misses_nothing(path: str) -> None:
    session, auth = make_session(), headers()
    path = path.format(session.session_id)

    async def scenario() -> None:
        async with Stream(path, headers=auth) as stream:
            with pytest.raises(TimeoutError):
                await stream.next(timeout=0.5)
        await in_thread(append, session, n="meanwhile")
        async with Stream(path, headers=auth | {"Last-Event-ID": stream.began}) as stream:
            (frame,) = await stream.take(1)
            assert frame.data["payload"] == {"n": "meanwhile"}

    asyncio.run(scenario())


def test_the_larger_of_both_cursors_counts() -> None:
    session, auth = make_session(), headers()
    for _ in range(5):
        append(session)

    async def first(cursor: str, last_event_id: str) -> str:
        more = {"Last-Event-ID": last_event_id}
        path = f"/v1/sessions/{session.session_id}/stream"
        async with Stream(path, headers=auth | more, cursor=cursor) as stream:
            return (await stream.take(1))[0].id

    assert asyncio.run(first("1", "3")) == "4"
    assert asyncio.run(first("4", "2")) == "5"


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "1-1", "99", "9" * 30, "\u0661"])
def test_a_cursor_that_was_never_given_out_is_refused(cursor: str) -> None:
    session, auth = make_session(), headers()
    append(session)

    async def scenario() -> None:
        path = f"/v1/sessions/{session.session_id}/stream"
        async with Stream(path, headers=auth, cursor=cursor) as stream:
            assert stream.status == 400
            assert stream.headers["content-type"] == "application/problem+json"
            assert (await stream.body())["code"] == "invalid_event_cursor"

    asyncio.run(scenario())


async def refusal(path: str, sent: dict[str, str]) -> tuple[int, str]:
    async with Stream(path, headers=sent) as stream:
        return stream.status, (await stream.body())["code"]


def test_no_token_a_wrong_one_and_no_session_are_refused() -> None:
    session, auth, nobody = make_session(), headers(), {"Authorization": "Bearer kh_" + "x" * 43}
    known, unknown = f"/v1/sessions/{session.session_id}/stream", "/v1/sessions/nowhere/stream"

    assert asyncio.run(refusal(known, {}))[0] == 401
    assert asyncio.run(refusal(known, nobody))[0] == 401
    assert asyncio.run(refusal(unknown, auth)) == (404, "session_not_found")


def test_a_login_without_a_role_may_not_watch_and_a_viewer_may(django_user_model: Any) -> None:
    session = make_session()
    append(session)

    async def status(cookie: str) -> int:
        path = f"/v1/sessions/{session.session_id}/stream"
        async with Stream(path, headers={"Cookie": cookie}, cursor="0") as stream:
            return int(stream.status)

    for superuser, expected in ((False, 403), (True, 200)):
        user = django_user_model.objects.create(username=f"u{superuser}", is_superuser=superuser)
        client = Client()
        client.force_login(user)
        cookie = client.cookies["kheish_session"].output(header="").split(";")[0].strip()
        assert asyncio.run(status(cookie)) == expected


def test_a_stream_is_only_read() -> None:
    session = make_session()
    for client in (Client(), Client(enforce_csrf_checks=True)):
        response = client.post(f"/v1/sessions/{session.session_id}/stream")
        assert (response.status_code, response["Allow"]) == (405, "GET")
        assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("query", ["after=3", "cursr=1", "cursor=1&cursor=2", "kinds=run.completed"])
def test_a_query_it_does_not_know_is_refused_as_lists_refuse_it(query: str) -> None:
    session, auth = make_session(), headers()
    path = f"/v1/sessions/{session.session_id}/stream?{query}"
    assert asyncio.run(refusal(path, auth)) == (400, "invalid_request")
    assert asyncio.run(refusal(path, {}))[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sessions/%00/stream",
        "/v1/runs/%00/stream",
        "/v1/events/stream?session_id=%00",
        "/v1/events/stream?run_id=%00",
    ],
)
def test_an_id_that_cannot_be_is_not_an_outage(path: str) -> None:
    assert asyncio.run(refusal(path, headers()))[0] == 404


def test_live_text_has_no_id_and_is_redacted() -> None:
    session, auth = make_session(), headers()

    async def scenario() -> None:
        async with Stream(f"/v1/sessions/{session.session_id}/stream", headers=auth, cursor="0") as stream:
            text = "the key is sk-abcdefghijklmnopqrstuvwx"
            (frame,) = await say_until_heard(session, text, stream.take(1))
        assert (frame.event, frame.id) == ("message.delta", "")
        assert frame.data == {
            "run_id": "run_x",
            "session_id": session.session_id,
            "step": 2,
            "attempt": 1,
            "index": 0,
            "text": "the key is [redacted]",
        }

    asyncio.run(scenario())


def test_an_old_connection_is_closed_and_resumes(settings: Any) -> None:
    session, auth = make_session(), headers()
    append(session)
    short = settings.KHEISH.__class__(**{**vars(settings.KHEISH), "stream_max_seconds": 0.3})

    async def scenario() -> None:
        path = f"/v1/sessions/{session.session_id}/stream"
        async with Stream(path, headers=auth, cursor="0") as stream:
            assert [frame.id for frame in await stream.rest()] == ["1"]

    with override_settings(KHEISH=short):
        asyncio.run(scenario())


def test_a_connection_that_sent_its_share_is_closed_and_resumes(settings: Any) -> None:
    session, auth = make_session(), headers()
    for n in range(20):
        append(session, text="x" * 10_000, n=n)
    small = settings.KHEISH.__class__(**{**vars(settings.KHEISH), "stream_max_bytes": 65_536})
    path = f"/v1/sessions/{session.session_id}/stream"

    async def scenario() -> list[str]:
        seen: list[str] = ["0"]
        while seen[-1] != "20":
            async with Stream(path, headers=auth | {"Last-Event-ID": seen[-1]}) as stream:
                got = await stream.rest() if seen[-1] != "14" else await stream.take(6)
                seen += [frame.id for frame in got]
        return seen

    with override_settings(KHEISH=small):
        assert asyncio.run(scenario()) == [str(n) for n in range(21)]
