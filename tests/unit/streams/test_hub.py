"""The multiplexer with a feed in memory: no gap, no duplicate, whatever is lost or late."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import DatabaseError

from sessions_app.services import events
from sessions_app.services.doorbell.listening import Ears
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import Event, Place
from sessions_app.streams import follow as follow_module
from sessions_app.streams import hub as hub_module
from sessions_app.streams.follow import Ended, Heartbeat, Item, follow
from sessions_app.streams.hub import Hub, TooManyStreams
from sessions_app.streams.limits import Limits
from sessions_app.streams.sources import Opened
from sessions_app.streams.subscription import Subscription, Topic

LIMITS = Limits(max_seconds=30, max_bytes=1 << 20, heartbeat_seconds=5, page_rows=7)


class Silent:
    """A doorbell that the test rings itself."""

    def __init__(self) -> None:
        self.ears: Ears | None = None
        self.stops = 0

    def start(self, ears: Ears) -> None:
        self.ears = ears

    def stop(self) -> None:
        self.ears, self.stops = None, self.stops + 1


@dataclass
class Journal:
    """A session's entries; takes the place of ``services.events`` where the hub reads."""

    rows: list[Event] = field(default_factory=list)
    reads: int = 0

    def append(self, kind: str = "message.created", run_pk: int = 1) -> int:
        seq = len(self.rows) + 1
        self.rows.append(
            Event(
                place=Place(0, seq),
                seq=seq,
                kind=kind,
                at="",
                session_pk=1,
                session_id="s",
                run_pk=run_pk,
                run_id="r",
                data=b"{}",
            )
        )
        return seq

    def heads(self, session_pks: Any) -> dict[int, int]:
        return {1: len(self.rows)}

    def after(self, wanted: dict[int, int]) -> tuple[Event, ...]:
        self.reads += 1
        return tuple(self.rows[wanted[1] : wanted[1] + events.NEWS])


@dataclass(frozen=True)
class Source:
    """A session or run of that journal."""

    journal: Journal
    run_pk: int | None = None
    topic: int = 1

    def page(self, after: int, limit: int) -> Any:
        rows = [row for row in self.journal.rows if row.seq > after and self.wants(row)]
        return FakePage(tuple(rows[:limit]), len(rows) > limit)

    def at(self, event: Event) -> int:
        return event.seq

    def wants(self, event: Event) -> bool:
        return self.run_pk in (None, event.run_pk)

    def wants_delta(self, delta: Delta) -> bool:
        return True

    def ended_by(self, event: Event) -> str:
        return "completed" if event.kind == "run.completed" and self.run_pk else ""


@dataclass(frozen=True)
class FakePage:
    rows: tuple[Event, ...]
    has_more: bool

    def events(self) -> tuple[Event, ...]:
        return self.rows


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    found = Journal()

    async def direct(read: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)
        return read()

    for module in (hub_module, follow_module):
        monkeypatch.setattr(module, "in_reader", direct)
    monkeypatch.setattr(hub_module, "_events", found.after)
    monkeypatch.setattr(events, "heads", found.heads)
    return found


def make_hub(poll_seconds: float = 60.0) -> tuple[Hub, Silent]:
    bell = Silent()
    return Hub(bell, poll_seconds=poll_seconds), bell


def delta(index: int) -> Delta:
    return Delta(session_pk=1, run_pk=1, run_id="r", session_id="s", step=1, attempt=1, index=index, text="t")


async def one_by_one(news: AsyncIterator[tuple[Item, ...]]) -> AsyncIterator[Item]:
    async for items in news:
        for item in items:
            yield item


async def read(
    hub: Hub, opened: Opened[int], count: int, limits: Limits = LIMITS, pause: float = 0
) -> list[int]:
    """Return the sequence numbers of the next ``count`` events."""
    seen: list[int] = []
    with hub.subscribe(opened, limits) as subscription:
        async with aclosing(follow(subscription, limits)) as news:
            async for item in one_by_one(news):
                if isinstance(item, Event):
                    seen.append(item.seq)
                    await asyncio.sleep(pause)
                if len(seen) == count:
                    break
    return seen


def opened(journal: Journal, position: int, run_pk: int | None = None) -> Opened[int]:
    return Opened(source=Source(journal, run_pk), position=position, head=len(journal.rows))


def test_backlog_then_live_with_one_read_for_all(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        for _ in range(20):
            journal.append()
        readers = [asyncio.create_task(read(hub, opened(journal, start), 30 - start)) for start in range(20)]
        await asyncio.sleep(0.01)
        before = journal.reads
        for _ in range(10):
            hub.ring(1, journal.append())
        results = await asyncio.gather(*readers)
        assert results == [list(range(start + 1, 31)) for start in range(20)]
        assert journal.reads - before <= 3

    asyncio.run(scenario())


def test_lost_rings_are_found_by_the_poll(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub(poll_seconds=0.05)
        reader = asyncio.create_task(read(hub, opened(journal, 0), 5))
        await asyncio.sleep(0.01)
        for _ in range(5):
            journal.append()
        async with asyncio.timeout(2):
            assert await reader == [1, 2, 3, 4, 5]

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [DatabaseError, ValueError])
def test_a_read_that_fails_is_made_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    fails = iter([True, True])

    def read_or_fail(wanted: dict[int, int]) -> tuple[Event, ...]:
        if next(fails, False):
            raise error
        return journal.after(wanted)

    async def scenario() -> None:
        monkeypatch.setattr(hub_module, "_events", read_or_fail)
        hub, _ = make_hub(poll_seconds=0.02)
        reader = asyncio.create_task(read(hub, opened(journal, 0), 1))
        await asyncio.sleep(0.01)
        journal.append()
        async with asyncio.timeout(5):
            assert await reader == [1]

    asyncio.run(scenario())


def test_random_readers_and_a_fast_writer(journal: Journal) -> None:
    """Rings are lost, doubled and late; readers come and go at random places and read at random speed."""
    dice = random.Random(7)

    async def writer(hub: Hub) -> None:
        for _ in range(600):
            seq = journal.append(run_pk=dice.choice([1, 1, 2]))
            for _ in range(dice.choice([0, 1, 1, 2])):
                hub.ring(dice.choice([1, None]), dice.randint(1, seq))
            if dice.random() < 0.3:
                await asyncio.sleep(0)

    async def client(hub: Hub, run_pk: int | None) -> list[int]:
        seen: list[int] = []
        wanted = [row.seq for row in journal.rows if run_pk in (None, row.run_pk)]
        while len(journal.rows) < 600 or len(seen) < len(wanted):
            left = max(1, len(wanted) - len(seen))
            count = min(dice.randint(1, 40), left)
            small = Limits(max_seconds=0.5, max_bytes=1, buffer_events=dice.choice([4, 512]), page_rows=7)
            position = seen[-1] if seen else 0
            seen += await read(hub, opened(journal, position, run_pk), count, small, dice.choice([0, 0.001]))
            wanted = [row.seq for row in journal.rows if run_pk in (None, row.run_pk)]
        return seen

    async def scenario() -> None:
        hub, _ = make_hub(poll_seconds=0.02)
        clients = [asyncio.create_task(client(hub, pk)) for pk in (None, None, 1, 2, 2)]
        await writer(hub)
        async with asyncio.timeout(20):
            results = await asyncio.gather(*clients)
        assert results[0] == results[1] == list(range(1, 601))
        assert results[3] == results[4] == [row.seq for row in journal.rows if row.run_pk == 2]
        assert hub.streams == 0

    asyncio.run(scenario())


def test_a_reader_that_is_too_slow_loses_its_buffer_and_nothing_else(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        small = Limits(max_seconds=30, max_bytes=1, buffer_events=5, page_rows=7)
        with hub.subscribe(opened(journal, 0), small) as subscription:
            for _ in range(10):
                for _ in range(10):
                    hub.ring(1, journal.append())
                await asyncio.sleep(0.005)
            assert subscription._size <= 5
            seen = []
            async with aclosing(follow(subscription, small)) as news:
                async for item in one_by_one(news):
                    seen.append(item.seq)  # type: ignore[union-attr]
                    if len(seen) == 100:
                        break
        assert seen == list(range(1, 101))

    asyncio.run(scenario())


def test_live_text_is_the_first_to_go(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        small = Limits(max_seconds=30, max_bytes=1, buffer_events=8)
        with hub.subscribe(opened(journal, 0), small) as subscription:
            for n in range(50):
                hub.deliver(delta(n))
            hub.ring(1, journal.append())
            await asyncio.sleep(0.01)
            kinds = [type(item).__name__ for item in subscription.take()]
        assert kinds == ["Delta"] * 4 + ["Batch"]

    asyncio.run(scenario())


def test_backlog_comes_before_live_text(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        for _ in range(3):
            journal.append()
        with hub.subscribe(opened(journal, 0), LIMITS) as subscription:
            hub.deliver(delta(0))
            news = follow(subscription, LIMITS)
            items = one_by_one(news)
            names = [type(await anext(items)).__name__ for _ in range(4)]
            await news.aclose()
        assert names == ["Event", "Event", "Event", "Delta"]

    asyncio.run(scenario())


def test_a_run_ends_its_stream_and_only_its_own(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        with hub.subscribe(opened(journal, 0, run_pk=2), LIMITS) as subscription:
            journal.append(kind="run.completed", run_pk=1)
            journal.append(run_pk=2)
            hub.ring(1, journal.append(kind="run.completed", run_pk=2))
            items = [item async for item in one_by_one(follow(subscription, LIMITS))]
        assert [getattr(item, "seq", None) for item in items] == [2, 3, None]
        assert items[-1] == Ended("completed")

    asyncio.run(scenario())


def test_the_first_of_many_readers_need_not_wait_for_the_last(journal: Journal) -> None:
    async def scenario() -> None:
        topic: Topic[int] = Topic(0)
        served: list[int] = []
        reached = asyncio.Event()

        async def client(number: int, subscription: Subscription[int]) -> None:
            await subscription.wait(5)
            served.append(number)
            await reached.wait()

        def look() -> None:
            seen.append(len(served))
            if len(served) < 40:
                asyncio.get_running_loop().call_soon(look)

        readers = [Subscription(Source(journal), 0, topic, buffer_events=9) for _ in range(40)]
        topic.subscriptions.update(readers)
        clients = [asyncio.create_task(client(number, each)) for number, each in enumerate(readers)]
        await asyncio.sleep(0)
        seen: list[int] = []
        look()
        journal.append()
        await topic.publish(1, tuple(journal.rows))
        await asyncio.sleep(0)
        assert len(served) == 40
        assert {0, 8, 16, 24, 32} <= set(seen)
        reached.set()
        await asyncio.gather(*clients)

    asyncio.run(scenario())


def test_a_ring_that_is_lost_among_many_others_is_found_by_the_poll(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub(poll_seconds=0.05)
        looks, began = 0, asyncio.get_running_loop().time()
        while looks < 3:
            hub._rung.set()
            await hub._heard()
            looks, hub._look_everywhere = looks + hub._look_everywhere, False
            assert asyncio.get_running_loop().time() < began + 10
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_sessions_that_grow_and_grow_keep_nobody_else_waiting(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        looked = asyncio.Event()

        def busy(wanted: dict[int, int]) -> tuple[Event, ...]:
            hub.ring(1, journal.append())
            return journal.after(wanted)

        async def everything() -> None:
            looked.set()

        monkeypatch.setattr(hub_module, "_events", busy)
        monkeypatch.setattr(hub, "_read_everything", everything)
        with hub.subscribe(opened(journal, 0), LIMITS):
            for _ in range(3):
                looked.clear()
                async with asyncio.timeout(5):
                    await looked.wait()
        assert len(journal.rows) >= 2

    asyncio.run(scenario())


def test_what_came_together_is_sent_together(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        with hub.subscribe(opened(journal, 0), LIMITS) as subscription:
            hub.deliver(delta(0))
            hub.deliver(delta(1))
            for _ in range(2):
                hub.ring(1, journal.append())
                await asyncio.sleep(0.01)
            async with aclosing(follow(subscription, LIMITS)) as news:
                items = await anext(news)
        assert [type(item).__name__ for item in items] == ["Delta", "Delta", "Event", "Event"]

    asyncio.run(scenario())


def test_who_is_served_hears_no_heartbeat_and_leaves_no_timer(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        short = Limits(max_seconds=30, max_bytes=1, heartbeat_seconds=0.8)
        with hub.subscribe(opened(journal, 0), short) as subscription:
            items = list[Item]()
            async with aclosing(follow(subscription, short)) as news:
                for _ in range(6):
                    hub.ring(1, journal.append())
                    items += await anext(news)
                    await asyncio.sleep(0.2)
                assert [type(item) for item in items] == [Event] * 6
                began = asyncio.get_running_loop().time()
                assert await anext(news) == (Heartbeat(),)
                assert asyncio.get_running_loop().time() - began > 0.4
        assert subscription._timer is None

    asyncio.run(scenario())


def test_heartbeats_and_age(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        short = Limits(max_seconds=0.25, max_bytes=1, heartbeat_seconds=0.1)
        with hub.subscribe(opened(journal, 0), short) as subscription:
            items = [item async for item in one_by_one(follow(subscription, short))]
        assert items == [Heartbeat()] * 3

    asyncio.run(scenario())


def test_closing_ends_streams_and_takes_no_more(journal: Journal) -> None:
    async def scenario() -> None:
        hub, bell = make_hub()
        with hub.subscribe(opened(journal, 0), LIMITS) as subscription:
            asyncio.get_running_loop().call_later(0.01, hub.close)
            assert [item async for item in follow(subscription, LIMITS)] == []
        with pytest.raises(TooManyStreams):
            hub.check(LIMITS)
        assert (bell.ears, bell.stops) == (None, 1)

    asyncio.run(scenario())


def test_no_more_than_so_many_streams(journal: Journal) -> None:
    async def scenario() -> None:
        hub, _ = make_hub()
        few = Limits(max_seconds=1, max_bytes=1, max_streams=1)
        with hub.subscribe(opened(journal, 0), few), pytest.raises(TooManyStreams):
            hub.check(few)
        hub.check(few)

    asyncio.run(scenario())
