"""The worker's end of the list of calls: taken by one worker each, in the order they were made."""

from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sessions_app.services.doorbell.redis_bell import calls_list

_LONGEST_WAIT_SECONDS: Final = 1
_SLACK_SECONDS: Final = 4.0


class Deaf(Exception):
    """Redis does not answer; calls made meanwhile are found by the sweep."""


class RedisCalls:
    """Takes calls for this process. One thread at a time."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=_LONGEST_WAIT_SECONDS + _SLACK_SECONDS,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 1),
        )

    def take(self, most: int) -> list[int]:
        """Wait up to a second for a call and return at most ``most`` primary keys. Raises: Deaf."""
        try:
            taken: Any = self._redis.lpop(calls_list(), most)
            if not taken:
                waited = self._redis.blpop([calls_list()], timeout=_LONGEST_WAIT_SECONDS)
                taken = [waited[1]] if waited is not None else []
        except RedisError as error:
            raise Deaf(str(error)) from error
        return list(dict.fromkeys(int(call) for call in taken if call.isdigit()))

    def close(self) -> None:
        """Let go of the connection."""
        self._redis.close()
