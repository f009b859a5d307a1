"""A ceiling on requests a caller makes per minute in one process: against runaway loops, not for quotas."""

import time
from typing import Any, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from kheish_site.lib.buckets import TokenBuckets
from sessions_app.services.principal import Principal

_BUCKETS: Final = TokenBuckets()


class CallerThrottle(BaseThrottle):
    """429 with ``Retry-After`` for a caller over ``KHEISH_REQUESTS_PER_MINUTE`` (0: no ceiling)."""

    def __init__(self) -> None:
        self._wait = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the request; False when the caller's bucket is empty."""
        per_minute, caller = settings.REQUESTS_PER_MINUTE, request.auth
        if not per_minute or not isinstance(caller, Principal):
            return True
        self._wait = _BUCKETS.take(
            caller.name, capacity=per_minute, per_second=per_minute / 60, now=time.monotonic()
        )
        return not self._wait

    def wait(self) -> float:
        """Return the seconds to wait."""
        return self._wait
