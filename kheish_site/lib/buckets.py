"""Token buckets: a ceiling on how often something may happen, in one process. Reset by a restart."""

import threading
from collections import OrderedDict
from typing import Final

_KEPT: Final = 10_000


class TokenBuckets:
    """One bucket a key, full at first, refilled steadily. Thread safe; the idle are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, *, capacity: float, per_second: float, now: float) -> float:
        """Take one token; return 0, or the seconds until there is one. ``now`` is monotonic seconds."""
        with self._lock:
            level, seen = self._buckets.pop(key, (capacity, now))
            level = min(capacity, level + (now - seen) * per_second)
            wait = 0.0 if level >= 1 else (1 - level) / per_second
            self._buckets[key] = (level if wait else level - 1, now)
            if len(self._buckets) > _KEPT:
                self._buckets.popitem(last=False)
        return wait
