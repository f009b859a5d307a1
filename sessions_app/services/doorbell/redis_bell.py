"""The services profile: Redis pub/sub rings readers and carries deltas, a list there calls workers.

A call is a number in a list, which one worker takes: no Celery message, whose way through a worker costs more
than the step it announces. A call that is lost, or taken by a worker that dies, is found by the sweep.

A thread of its own sends what the others ring, all that waits in one go: a commit never waits for Redis. It
sends the first ring at once and what follows closely together, because hearing costs by the message.
"""

import atexit
import json
import queue
import threading
import time
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
_GAP_SECONDS: Final = 0.003
"""At least so long from one sending to the next."""
_LAST_WORDS_SECONDS: Final = 1.0
"""How long the end of a process waits for what it rang last."""
_Ring = tuple[int, int] | int | bytes
"""A session and how far its journal has come; a session to be driven; or a delta."""


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
        self._ring((session_pk, seq))

    def ring_workers(self, session_pk: int) -> None:
        """Ask a worker to drive the session."""
        self._ring(session_pk)

    def delta(self, delta: Delta) -> None:
        """Publish ``delta`` to whoever listens now."""
        self._ring(delta.encode())

    def _ring(self, ring: _Ring) -> None:
        if self._ringer is None:
            self._start()
        self._rung.put(ring)

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
        sent = 0.0
        while (first := self._rung.get()) is not None:
            time.sleep(max(0.0, sent + _GAP_SECONDS - time.monotonic()))
            rings = [first, *self._waiting()]
            self._outage.attempt(partial(self._send, rings), (RedisError,))
            sent = time.monotonic()

    def _waiting(self) -> Iterator[_Ring]:
        """Take what else was rung, in order."""
        while self._rung.qsize():
            ring = self._rung.get()
            if ring is None:
                self._rung.put(None)  # the end comes after what was rung before it
                return
            yield ring

    def _send(self, rings: Sequence[_Ring]) -> None:
        reached: dict[int, int] = {}
        calls: dict[int, None] = {}
        with self._redis.pipeline(transaction=False) as pipe:
            for ring in rings:
                if isinstance(ring, bytes):
                    pipe.publish(deltas_channel(), ring)
                elif isinstance(ring, int):
                    calls[ring] = None
                else:
                    reached[ring[0]] = max(ring[1], reached.get(ring[0], 0))
            if calls:
                pipe.rpush(calls_list(), *calls)
                pipe.ltrim(calls_list(), -MOST_CALLS, -1)
            if reached:  # after the deltas: a journal that has its message ends them
                pipe.publish(bells_channel(), json.dumps(list(reached.items())))
            pipe.execute()


def decode_bells(message: bytes) -> list[tuple[int | None, int]]:
    """Return (session_pk, seq) of each session; a message nobody understands means "look at everything"."""
    try:
        return [(int(session_pk), int(seq)) for session_pk, seq in json.loads(message)]
    except (ValueError, TypeError):
        return [(None, 0)]


def bells_channel() -> str:
    """Return the pub/sub channel of messages ``[[session_pk, seq], …]``."""
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
