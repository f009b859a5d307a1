"""A ceiling on requests a caller makes per minute in one process: against runaway loops, not for quotas."""

import threading
import time
from collections import OrderedDict
from typing import Any, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from sessions_app.services.access import Principal

_CALLERS_KEPT: Final = 10_000


class TokenBuckets:
    """One bucket a caller, full at first, refilled at ``per_minute``. Thread safe; the idle are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, *, per_minute: int, now: float) -> float:
        """Take one token; return 0, or the seconds until there is one."""
        with self._lock:
            level, seen = self._buckets.pop(caller, (float(per_minute), now))
            level = min(per_minute, level + (now - seen) * per_minute / 60)
            wait = 0.0 if level >= 1 else (1 - level) * 60 / per_minute
            self._buckets[caller] = (level if wait else level - 1, now)
            if len(self._buckets) > _CALLERS_KEPT:
                self._buckets.popitem(last=False)
        return wait


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
        self._wait = _BUCKETS.take(caller.name, per_minute=per_minute, now=time.monotonic())
        return not self._wait

    def wait(self) -> float:
        """Return the seconds to wait."""
        return self._wait
