"""The services profile's doorbell: heard through Redis, and harmless when Redis is away."""

import asyncio
import socket
from functools import partial
from typing import Any

import pytest
from django.conf import settings

from kheish_site.testing.ports import free_port
from sessions_app.services import wake
from sessions_app.services.doorbell import redis_bell
from sessions_app.services.doorbell.listening import Ears
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.doorbell.redis_bell import RedisBell, calls_list
from sessions_app.services.doorbell.redis_calls import Deaf, RedisCalls
from sessions_app.services.doorbell.redis_listener import RedisListener
from tests.sessions_app.streams.helpers import Stream, append, in_thread, make_session, make_token

DELTA = Delta(session_pk=1, run_pk=2, run_id="r", session_id="s", step=1, attempt=1, index=0, text="hi é")


class Heard:
    """Ears that remember."""

    def __init__(self) -> None:
        self.rings: list[tuple[int | None, int]] = []
        self.deltas: list[Delta] = []
        self.ears = Ears(ring=lambda pk, seq: self.rings.append((pk, seq)), delta=self.deltas.append)


async def until(true: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.services_only
def test_rings_and_deltas_cross_redis() -> None:
    async def scenario() -> None:
        heard, listener = Heard(), RedisListener(settings.KHEISH.redis_url)
        listener.start(heard.ears)
        await until(lambda: heard.rings == [(None, 0)])
        bell = RedisBell(settings.KHEISH.redis_url)
        await in_thread(bell.ring_readers, 7, 12)
        await in_thread(bell.delta, DELTA)
        await until(lambda: heard.deltas)
        assert heard.rings == [(None, 0), (7, 12)]
        assert heard.deltas == [DELTA]
        listener.stop()

    asyncio.run(scenario())


@pytest.mark.services_only
@pytest.mark.django_db(transaction=True)
def test_who_listens_is_rung_for_when_a_journal_has_grown() -> None:
    async def scenario() -> None:
        heard, listener = Heard(), RedisListener(settings.KHEISH.redis_url)
        listener.start(heard.ears)
        await until(lambda: heard.rings == [(None, 0)])
        session = await in_thread(make_session)
        seq = await in_thread(append, session)
        await until(lambda: (session.pk, seq) in heard.rings)
        listener.stop()

    asyncio.run(scenario())


@pytest.mark.services_only
def test_a_redis_that_is_down_is_noticed_once(caplog: pytest.LogCaptureFixture) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    bell = RedisBell(url)
    for _ in range(50):
        bell.ring_readers(1, 1)
        bell.ring_workers(1)
        bell.delta(DELTA)
    bell._end()
    assert bell._ringer is not None and not bell._ringer.is_alive()
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_a_redis_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        bell = RedisBell(f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        for _ in range(50):
            bell.ring_readers(1, 1)
        assert bell._ringer is not None and bell._ringer.is_alive()  # it waits, and nobody else
        bell._rung.put(None)
        bell._ringer.join(30)
        assert not bell._ringer.is_alive()


@pytest.mark.services_only
def test_what_was_rung_last_goes_out_before_the_end() -> None:
    bell, calls = RedisBell(settings.KHEISH.redis_url), RedisCalls(settings.KHEISH.redis_url)
    bell._redis.delete(calls_list())
    for session_pk in range(300):
        bell.ring_workers(session_pk)
    bell._end()
    assert calls.take(1000) == list(range(300))


def test_a_listener_without_redis_keeps_trying_and_can_be_stopped() -> None:
    async def scenario() -> None:
        heard, listener = Heard(), RedisListener(f"redis://127.0.0.1:{free_port()}/0")
        listener.start(heard.ears)
        await asyncio.sleep(0.1)
        listener.stop()
        await asyncio.sleep(0.05)
        assert heard.rings == []
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


@pytest.mark.django_db(transaction=True)
def test_a_stream_whose_doorbell_is_dead_is_only_late(monkeypatch: pytest.MonkeyPatch) -> None:
    session, auth = make_session(), {"Authorization": make_token()}
    dead = f"redis://127.0.0.1:{free_port()}/0"
    monkeypatch.setattr("sessions_app.streams.hub.listener", lambda: RedisListener(dead))
    silent = RedisBell(dead)
    monkeypatch.setattr(wake, "bell", lambda: silent)

    async def scenario() -> None:
        async with Stream(f"/v1/sessions/{session.session_id}/stream", headers=auth, cursor="0") as stream:
            await asyncio.sleep(0.1)
            await in_thread(append, session)
            assert (await stream.next(timeout=3)).id == "1"  # type: ignore[union-attr]

    asyncio.run(scenario())


@pytest.mark.services_only
def test_calls_are_taken_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    bell, calls = RedisBell(settings.KHEISH.redis_url), RedisCalls(settings.KHEISH.redis_url)
    bell._redis.delete(calls_list())
    ring = partial(bell._send, [42, 7, 42, 8])
    ring()
    assert calls.take(2) == [42, 7]
    assert calls.take(3) == [8]
    assert calls.take(3) == []
    ring()
    ring()
    assert calls.take(6) == [42, 7, 8], "who was called twice is taken once"
    monkeypatch.setattr(redis_bell, "MOST_CALLS", 2)
    ring()
    assert calls.take(10) == [7, 8]


def test_nobody_is_called_without_redis() -> None:
    with pytest.raises(Deaf):
        RedisCalls(f"redis://127.0.0.1:{free_port()}/0").take(1)
