"""A run's stream: whole, cut anywhere, ended for good."""

import asyncio

import pytest

from kheish_site.lib.transactions import write
from sessions_app.models import RunStatus
from sessions_app.services.events import Event
from sessions_app.streams.follow import Ended, Item, follow
from sessions_app.streams.limits import Limits
from sessions_app.streams.sources import RunSource
from sessions_app.streams.subscription import Subscription, Topic
from tests.sessions_app.streams.helpers import (
    Frame,
    Stream,
    append,
    finish,
    in_thread,
    in_threads,
    make_run,
    make_session,
    make_token,
)

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = 60


def numbers(frames: list[Frame]) -> list[int]:
    return [int(frame.id) for frame in frames if frame.id]


def test_from_the_start_to_the_explicit_end() -> None:
    session, auth = make_session(), {"Authorization": make_token()}
    run, other = make_run(session), make_run(session)
    append(session, run=run)
    append(session, run=other)
    append(session, "session.updated")

    async def scenario() -> list[Frame]:
        async with Stream(f"/v1/runs/{run.run_id}/stream", headers=auth) as stream:
            backlog = await stream.take(2)
            await in_thread(finish, run)
            rest = await stream.rest()
            assert stream.ended
            return backlog + rest

    frames = asyncio.run(scenario())
    assert numbers(frames) == [1, 3, 6]
    assert (frames[-1].event, frames[-1].id) == ("run.ended", "")
    assert frames[-1].data == {"run_id": run.run_id, "status": "completed"}


def test_cut_at_every_event_while_it_is_written() -> None:
    session, auth = make_session(), {"Authorization": make_token()}
    run = make_run(session)

    def write() -> None:
        for n in range(EVENTS - 2):
            append(session, run=run, n=n)
        finish(run)

    async def scenario() -> list[int]:
        (writer,) = in_threads(write)
        seen, path = [0], f"/v1/runs/{run.run_id}/stream"
        while seen[-1] < EVENTS:
            async with Stream(path, headers=auth | {"Last-Event-ID": str(seen[-1])}) as stream:
                seen += numbers(await stream.take(1))
        writer.join()
        async with Stream(path, headers=auth | {"Last-Event-ID": str(seen[-1])}) as stream:
            assert stream.status == 204
        return seen

    assert asyncio.run(scenario()) == list(range(EVENTS + 1))


def test_resumed_after_every_event_of_a_finished_run() -> None:
    session, auth = make_session(), {"Authorization": make_token()}
    run = make_run(session)
    for n in range(EVENTS - 2):
        append(session, run=run, n=n)
    finish(run, RunStatus.FAILED)

    async def rest(after: int) -> list[Frame]:
        path = f"/v1/runs/{run.run_id}/stream"
        async with Stream(path, headers=auth | {"Last-Event-ID": str(after)}) as stream:
            return await stream.rest() if stream.status == 200 else []

    async def scenario() -> None:
        for after in range(EVENTS + 1):
            frames = await rest(after)
            assert numbers(frames) == list(range(after + 1, EVENTS + 1))
            if frames:
                assert frames[-1].data["status"] == "failed"

    asyncio.run(scenario())


def test_what_comes_after_the_end_of_a_run_is_there_for_who_asks_again() -> None:
    session, auth = make_session(), {"Authorization": make_token()}
    run = make_run(session)
    finish(run)
    append(session, "task.finished", run=run)

    async def read(cursor: str) -> list[Frame]:
        async with Stream(f"/v1/runs/{run.run_id}/stream", headers=auth, cursor=cursor) as stream:
            return await stream.rest()

    assert [frame.event for frame in asyncio.run(read("2"))] == ["task.finished", "run.ended"]


@pytest.mark.parametrize("reached", [0, 1, 100, 149])
def test_a_run_that_is_over_is_whole_however_far_the_hub_has_come(reached: int) -> None:
    session = make_session()
    run = make_run(session)
    with write():
        for n in range(148):
            append(session, run=run, n=n)
        finish(run)

    async def scenario() -> list[Item]:
        source = RunSource(session_pk=session.pk, run_pk=run.pk, run_id=run.run_id)
        reader = Subscription(source, 0, Topic(reached), buffer_events=512)
        bounds = Limits(max_seconds=60, max_bytes=10**9)
        return [item async for items in follow(reader, bounds, status="completed") for item in items]

    *found, end = asyncio.run(scenario())
    assert [item.seq for item in found if isinstance(item, Event)] == list(range(1, 151))
    assert end == Ended("completed")


def test_an_unknown_run() -> None:
    auth = {"Authorization": make_token()}

    async def scenario() -> None:
        async with Stream("/v1/runs/run_nowhere/stream", headers=auth) as stream:
            assert stream.status == 404
            assert (await stream.body())["code"] == "run_not_found"

    asyncio.run(scenario())


def test_many_readers_of_one_run_each_get_all_of_it() -> None:
    session, auth = make_session(), {"Authorization": make_token()}
    run = make_run(session)

    def write() -> None:
        for n in range(EVENTS - 2):
            append(session, run=run, n=n)
        finish(run)

    async def reader() -> list[int]:
        async with Stream(f"/v1/runs/{run.run_id}/stream", headers=auth) as stream:
            return numbers(await stream.rest())

    async def scenario() -> list[list[int]]:
        readers = [asyncio.create_task(reader()) for _ in range(10)]
        (writer,) = in_threads(write)
        results = await asyncio.gather(*readers)
        writer.join()
        return results

    assert asyncio.run(scenario()) == [list(range(1, EVENTS + 1))] * 10
