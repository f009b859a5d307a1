"""Everything in one stream: the order of commits, its cursor, its filters."""

import asyncio
import threading
import time
from collections import defaultdict
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from kheish_site.lib.transactions import write
from sessions_app.models import JournalEntry, Session
from sessions_app.services import events
from sessions_app.services.events import START, Place
from sessions_app.streams.sources import DELTA_KIND
from tests.sessions_app.streams.helpers import (
    Frame,
    Stream,
    append,
    in_thread,
    in_threads,
    make_run,
    make_session,
    make_token,
    say_until_heard,
)

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/v1/events/stream"
PG = not settings.KHEISH.embedded


def shown(count: int) -> events.Page[Place]:
    """Wait until the feed shows ``count`` rows, which from then on it always does.

    Other tests of the same PostgreSQL server may hold transactions of their own, and they hold it back.
    """
    deadline = time.monotonic() + 30
    while len((page := events.global_page(START)).entries) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return page


def keys(frames: list[Frame]) -> list[tuple[str, int]]:
    return [(frame.data["session_id"], frame.data["seq"]) for frame in frames]


def test_nothing_is_skipped_or_doubled_while_many_commit_and_the_reader_is_cut() -> None:
    """Every fourth commit is held open while others overtake it (row locks: PostgreSQL only)."""
    sessions = [make_session() for _ in range(6)]
    auth, each = {"Authorization": make_token()}, 25

    def writer(session: Session) -> Any:
        def run() -> None:
            for n in range(each):
                with write():
                    append(session, n=n)
                    threading.Event().wait(0.02 if n % 4 == 0 else 0)

        return run

    async def scenario() -> list[Frame]:
        threads = in_threads(*(writer(session) for session in sessions))
        frames: list[Frame] = []
        cursor = "0"
        while len(frames) < each * len(sessions):
            async with Stream(PATH, headers=auth | {"Last-Event-ID": cursor}, cursor="0") as stream:
                for _ in range(7):
                    if len(frames) < each * len(sessions):
                        frames += await stream.take(1)
                        cursor = frames[-1].id
        for thread in threads:
            thread.join()
        return frames

    frames = asyncio.run(scenario())
    by_session: dict[str, list[int]] = defaultdict(list)
    for session_id, seq in keys(frames):
        by_session[session_id].append(seq)
    assert by_session == {session.session_id: list(range(1, each + 1)) for session in sessions}


@pytest.mark.services_only
def test_rows_behind_an_open_transaction_are_held_until_it_ends() -> None:
    slow, fast = make_session(), make_session()
    wrote, go = threading.Event(), threading.Event()

    def hold() -> None:
        with write():
            append(slow)
            wrote.set()
            go.wait(10)

    (thread,) = in_threads(hold)
    wrote.wait(10)
    append(fast)
    page = events.global_page(START)
    assert (page.entries, page.held) == ((), True)
    go.set()
    thread.join()
    page = shown(2)
    assert [entry.session_id for entry in page.entries] == [slow.pk, fast.pk]


@pytest.mark.services_only
def test_a_held_row_is_streamed_soon_after_the_older_transaction_ends() -> None:
    slow, fast, auth = make_session(), make_session(), {"Authorization": make_token()}
    wrote, go = threading.Event(), threading.Event()

    def hold() -> None:
        with write():
            append(slow)
            wrote.set()
            go.wait(10)

    async def scenario() -> list[Frame]:
        async with Stream(PATH, headers=auth, cursor="0") as stream:
            (thread,) = in_threads(hold)
            await in_thread(wrote.wait)
            in_threads(lambda: append(fast))[0].join()
            with pytest.raises(TimeoutError):
                await stream.next(timeout=0.3)
            go.set()
            thread.join()
            return await stream.take(2)

    assert len(asyncio.run(scenario())) == 2


def test_filters_by_session_run_and_kind() -> None:
    one, two, auth = make_session(), make_session(), {"Authorization": make_token()}
    run = make_run(one)
    append(one, "tool.started", run=run)
    append(one, "session.updated")
    append(two, "tool.started")

    async def read(count: int, **query: str) -> list[tuple[str, int]]:
        async with Stream(PATH, headers=auth, cursor="0", **query) as stream:
            return keys(await stream.take(count))

    first, second = one.session_id, two.session_id
    assert asyncio.run(read(3, session_id=first)) == [(first, 1), (first, 2), (first, 3)]
    assert asyncio.run(read(2, run_id=run.run_id)) == [(first, 1), (first, 2)]
    assert asyncio.run(read(2, kinds="tool.started")) == [(first, 2), (second, 1)]
    assert asyncio.run(read(2, kinds="tool.started,session.updated", session_id=first)) == [
        (first, 2),
        (first, 3),
    ]


@pytest.mark.services_only
def test_entries_of_one_session_keep_their_order_whenever_their_transactions_began() -> None:
    """One that wrote before it came to the session has an older number than who passed it meanwhile."""
    session, begun, passed = make_session(), threading.Event(), threading.Event()

    def late() -> None:
        with write():
            make_session()
            begun.set()
            passed.wait(10)
            append(session)

    (waiting,) = in_threads(late)
    assert begun.wait(10)
    append(session)
    append(session)
    passed.set()
    waiting.join()
    append(session)
    assert [entry.seq for entry in shown(4).entries] == [1, 2, 3, 4]


@pytest.mark.services_only
def test_a_number_of_another_cluster_is_not_taken_over() -> None:
    session = make_session()
    Session.objects.update(last_order=2**60)  # as a dump brings it into a younger cluster
    append(session)
    shown(1)
    session.refresh_from_db()
    assert 0 < session.last_order < 2**60


def test_filters_hold_for_what_happens_live() -> None:
    one, two, auth = make_session(), make_session(), {"Authorization": make_token()}

    async def scenario() -> list[Frame]:
        async with Stream(PATH, headers=auth, session_id=two.session_id) as stream:
            for session in (one, two, one, two):
                in_threads(lambda session=session: append(session))[0].join()
            return await stream.take(2)

    assert keys(asyncio.run(scenario())) == [(two.session_id, 1), (two.session_id, 2)]


def test_live_text_only_where_it_is_asked_for() -> None:
    session, auth = make_session(), {"Authorization": make_token()}

    async def said(**query: str) -> str:
        async with Stream(PATH, headers=auth, **query) as stream:
            return (await say_until_heard(session, "hello", stream.take(1)))[0].event

    async def first() -> str:
        async with (
            Stream(PATH, headers=auth) as stream,
            Stream(PATH, headers=auth, kinds=DELTA_KIND) as other,
        ):
            await say_until_heard(session, "hello", other.take(1))
            await in_thread(append, session)
            return (await stream.take(1))[0].event

    assert asyncio.run(first()) == "message.created"
    assert asyncio.run(said(session_id=session.session_id)) == DELTA_KIND
    assert asyncio.run(said(kinds=f"{DELTA_KIND},message.created")) == DELTA_KIND


@pytest.mark.parametrize("cursor", ["x", "7", "0-", "-0", "1-1-1", "f" * 15 + "-1", "G-1"])
def test_a_cursor_that_was_never_given_out_is_refused(cursor: str) -> None:
    append(make_session())
    auth = {"Authorization": make_token()}

    async def scenario() -> None:
        async with Stream(PATH, headers=auth, cursor=cursor) as stream:
            assert stream.status == 400
            assert (await stream.body())["code"] == "invalid_event_cursor"

    asyncio.run(scenario())


def test_an_unknown_filter_is_refused() -> None:
    auth = {"Authorization": make_token()}

    async def status(**query: str) -> int:
        async with Stream(PATH, headers=auth, **query) as stream:
            return int(stream.status)

    assert asyncio.run(status(session_id="nowhere")) == 404
    assert asyncio.run(status(run_id="run_nowhere")) == 404


def test_no_read_grows_with_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is found by the index that leads to its first row, on either database."""
    session, plans = make_session(), []
    rows = [
        JournalEntry(session=session, seq=n, kind="k", at=session.created_at, commit_order=n if PG else 0)
        for n in range(1, 3001)
    ]
    JournalEntry.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    monkeypatch.setattr(events, "_page", lambda found, limit: plans.append(found[: limit + 1].explain()))
    events.global_page(events.place_of(rows[2900]))
    events.session_page(session.pk, after=2900)
    events.run_page(1, after=2900)
    if PG:
        assert "Seq Scan on sessions_app_journalentry" not in "".join(plans)
        assert "ROW(commit_order, id) >" in plans[0]
    else:
        bounds = ["rowid>?)", "(session_id=? AND seq>?)", "(run_id=? AND seq>?)"]
        for plan, bound in zip(plans, bounds, strict=True):
            assert bound in plan


def test_the_news_of_streams_are_the_pages_of_lists() -> None:
    """They are read by statements of their own, built once."""
    first, second = make_session(), make_session()
    for session in (first, second, first):
        append(session, kind="thing.done")
    everything = shown(3)
    assert events.global_news(START).events() == everything.events()
    assert events.session_news(first.pk, 1).events() == events.session_page(first.pk, after=1).events()


def test_the_feed_takes_one_query(django_assert_num_queries: Any) -> None:
    session = make_session()
    for _ in range(5):
        append(session)
    shown(5)
    with django_assert_num_queries(1):
        page = events.global_page(START, limit=3)
        assert [item["seq"] for item in page.items()] == [1, 2, 3]
    assert page.has_more
    after = events.place_of(page.entries[-1])
    assert events.parse_place(str(after)) == after
    assert [entry.seq for entry in events.global_page(after).entries] == [4, 5]
    assert events.global_page(Place(*events.global_head())).entries == ()
