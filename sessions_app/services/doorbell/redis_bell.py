"""The services profile: Redis pub/sub rings readers and carries deltas, a list there calls workers.

A call is a number in a list, which one worker takes: no Celery message, whose way through a worker costs more
than the step it announces. A call that is lost, or taken by a worker that dies, is found by the sweep.
"""

import json
from functools import cache
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


class RedisBell:
    """Rings through one Redis. A Redis that is down costs a commit at most one short timeout in 5 s."""

    def __init__(self, url: str) -> None:
        # One retry at once: the first command after a Redis restart finds a dead connection in the pool.
        self._redis = Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._readers = Outage("Redis (streams)")
        self._workers = Outage("Redis (workers)")

    def ring_readers(self, session_pk: int, seq: int) -> None:
        """Tell every stream process that the session's journal has reached ``seq``."""
        self._publish(bells_channel(), json.dumps([session_pk, seq]).encode())

    def ring_workers(self, session_pk: int) -> None:
        """Ask a worker to drive the session."""
        self._workers.attempt(lambda: self._call(session_pk), (RedisError,))

    def delta(self, delta: Delta) -> None:
        """Publish ``delta`` to whoever listens now."""
        self._publish(deltas_channel(), delta.encode())

    def _publish(self, channel: str, message: bytes) -> None:
        self._readers.attempt(lambda: self._redis.publish(channel, message), (RedisError,))

    def _call(self, session_pk: int) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.rpush(calls_list(), session_pk)
            pipe.ltrim(calls_list(), -MOST_CALLS, -1)
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
