"""The services profile: Redis pub/sub rings readers and carries deltas, a list there calls workers.

A call is a number in a list, which one worker takes: no Celery message, whose way through a worker costs more
than the step it announces. A call that is lost, or taken by a worker that dies, is found by the sweep.

A thread of its own sends what the others ring, all that waits in one go: a commit never waits for Redis.
"""

import atexit
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Final

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from kheish_site.lib.canonical import sha256_hex
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.doorbell.outage import Outage

MOST_CALLS: Final = 10_000
"""Calls nobody has taken: beyond so many the oldest go, and the sweep finds what they were for."""
_TIMEOUT_SECONDS: Final = 0.25
_LAST_WORDS_SECONDS: Final = 1.0
"""How long the end of a process waits for what it rang last."""
_Ring = tuple[str, bytes]
"""A channel and its message; for the list of calls, a session's primary key."""


class RedisBell:
    """Rings through one Redis. One that is down costs whoever rings nothing, and what is rung meanwhile."""

    def __init__(self, url: str) -> None:
        # One retry at once: the first command after a Redis restart finds a dead connection in the pool.
        self._redis = Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._outage = Outage("Redis")
        self._rung: queue.SimpleQueue[_Ring | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._ringer: threading.Thread | None = None

    def ring_readers(self, session_pk: int, seq: int) -> None:
        """Tell every stream process that the session's journal has reached ``seq``."""
        self._ring(bells_channel(), json.dumps([session_pk, seq]).encode())

    def ring_workers(self, session_pk: int) -> None:
        """Ask a worker to drive the session."""
        self._ring(calls_list(), str(session_pk).encode())

    def delta(self, delta: Delta) -> None:
        """Publish ``delta`` to whoever listens now."""
        self._ring(deltas_channel(), delta.encode())

    def _ring(self, channel: str, message: bytes) -> None:
        if self._ringer is None:
            self._start()
        self._rung.put((channel, message))

    def _start(self) -> None:
        with self._starting:
            if self._ringer is None:
                self._ringer = threading.Thread(target=self._send_all, name="doorbell-ringer", daemon=True)
                self._ringer.start()
                atexit.register(self._end)

    def _end(self) -> None:
        """Let what was rung go out before the process does."""
        self._rung.put(None)
        if self._ringer is not None:
            self._ringer.join(_LAST_WORDS_SECONDS)

    def _send_all(self) -> None:
        """The thread's body."""
        while (first := self._rung.get()) is not None:
            rings = [first, *self._waiting()]
            self._outage.attempt(partial(self._send, rings), (RedisError,))

    def _waiting(self) -> Iterator[_Ring]:
        """Take what else was rung, in order."""
        while self._rung.qsize():
            ring = self._rung.get()
            if ring is None:
                self._rung.put(None)  # the end comes after what was rung before it
                return
            yield ring

    def _send(self, rings: Sequence[_Ring]) -> None:
        calls = calls_list()
        with self._redis.pipeline(transaction=False) as pipe:
            for channel, message in rings:
                if channel == calls:
                    pipe.rpush(calls, message)
                else:
                    pipe.publish(channel, message)
            if any(channel == calls for channel, _ in rings):
                pipe.ltrim(calls, -MOST_CALLS, -1)
            pipe.execute()


def decode_bell(message: bytes) -> tuple[int | None, int]:
    """Return (session_pk, seq); a message nobody understands means "look at everything"."""
    try:
        session_pk, seq = json.loads(message)
        return int(session_pk), int(seq)
    except (ValueError, TypeError):
        return None, 0


def bells_channel() -> str:
    """Return the pub/sub channel of ``[session_pk, seq]`` messages."""
    return f"kheish:{_installation()}:bells"


def deltas_channel() -> str:
    """Return the pub/sub channel of token deltas."""
    return f"kheish:{_installation()}:deltas"


def calls_list() -> str:
    """Return the list of primary keys of sessions that a worker should drive, oldest first."""
    return f"kheish:{_installation()}:calls"


@cache
def _installation() -> str:
    """Two installations may share a Redis, and pub/sub knows no database numbers."""
    return sha256_hex(f"doorbell:{settings.SECRET_KEY}")[:16]
