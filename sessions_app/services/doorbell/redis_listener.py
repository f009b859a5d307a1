"""Hearing through Redis pub/sub: one subscription a process, renewed for as long as somebody listens."""

import asyncio
import logging
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sessions_app.services.doorbell.listening import Ears
from sessions_app.services.doorbell.live import decode
from sessions_app.services.doorbell.redis_bell import bells_channel, decode_bells, deltas_channel

logger: Final = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0


class RedisListener:
    """Hears how far sessions have come on one channel and deltas on another."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._task: asyncio.Task[None] | None = None
        self._down = False

    def start(self, ears: Ears) -> None:
        """See Listener."""
        self._task = asyncio.get_running_loop().create_task(self._listen(ears))

    def stop(self) -> None:
        """See Listener."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _listen(self, ears: Ears) -> None:
        while True:
            try:
                async with Redis.from_url(
                    self._url,
                    socket_connect_timeout=2,
                    health_check_interval=10,  # notices a peer that vanished without a word
                    retry=Retry(NoBackoff(), 0),
                ) as redis:
                    await self._hear(redis, ears)
            except (RedisError, OSError) as error:
                if not self._down:
                    extra = {"action": "doorbell.deaf"}
                    logger.warning("Redis is gone; streams poll the database: %s", error, extra=extra)
                self._down = True
            _stop_if_cancelled()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _hear(self, redis: Redis, ears: Ears) -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(bells_channel(), deltas_channel())
            _stop_if_cancelled()
            self._down = False
            ears.ring(None, 0)  # whatever was announced before this moment
            while True:
                message = await pubsub.get_message(timeout=5.0)
                _stop_if_cancelled()
                if message is not None:
                    _pass_on(message, ears)


def _stop_if_cancelled() -> None:
    """A cancellation that arrives while redis-py connects is swallowed there (seen with 8.1)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _pass_on(message: dict[str, Any], ears: Ears) -> None:
    if message["channel"] == bells_channel().encode():
        for session_pk, seq in decode_bells(message["data"]):
            ears.ring(session_pk, seq)
        return
    delta = decode(message["data"])
    if delta is not None:
        ears.delta(delta)
