"""The services profile: Redis pub/sub rings readers and carries deltas, Celery wakes workers."""

import json
from typing import Final

from celery import Celery
from django.conf import settings
from kombu.exceptions import OperationalError
from kombu.pools import producers
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from kheish_site.lib.canonical import sha256_hex
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.doorbell.outage import Outage

EXECUTE_TASK: Final = "kheish.execute"
_TIMEOUT_SECONDS: Final = 0.25
_AT_ONCE: Final = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "socket_timeout": _TIMEOUT_SECONDS,
    "socket_connect_timeout": _TIMEOUT_SECONDS,
}


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
        self._app = _publisher()
        # A pool of its own: by default kombu tries to connect again for six seconds.
        self._producers = producers[self._app.connection_for_write(url, transport_options=_AT_ONCE)]
        self._readers = Outage("Redis (streams)")
        self._workers = Outage("Redis (workers)")

    def ring_readers(self, session_pk: int, seq: int) -> None:
        """Tell every stream process that the session's journal has reached ``seq``."""
        self._publish(bells_channel(), json.dumps([session_pk, seq]).encode())

    def ring_workers(self, session_pk: int) -> None:
        """Ask a worker to drive the session."""
        self._workers.attempt(lambda: self._send_task(session_pk), (OperationalError,))

    def delta(self, delta: Delta) -> None:
        """Publish ``delta`` to whoever listens now."""
        self._publish(deltas_channel(), delta.encode())

    def _publish(self, channel: str, message: bytes) -> None:
        self._readers.attempt(lambda: self._redis.publish(channel, message), (RedisError,))

    def _send_task(self, session_pk: int) -> None:
        with self._producers.acquire(block=True) as producer:
            self._app.send_task(
                EXECUTE_TASK, args=[session_pk], producer=producer, retry=False, ignore_result=True
            )


def _publisher() -> Celery:
    """Return a Celery application that only sends: the web process has no other."""
    app = Celery("doorbell", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    return app


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


def _installation() -> str:
    """Two installations may share a Redis, and pub/sub knows no database numbers."""
    return sha256_hex(f"doorbell:{settings.SECRET_KEY}")[:16]
