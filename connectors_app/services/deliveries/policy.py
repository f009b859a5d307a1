"""When a delivery is tried again, and when a target is left alone."""

import random
from typing import Final

from django.conf import settings

_LARGEST_EXPONENT: Final = 6
_JITTER: Final = 0.2


def wait_seconds(attempts: int, asked_seconds: float | None = None) -> float:
    """Return how long to wait after failed attempt number ``attempts``: at least what the target asked for.

    The wait doubles with each attempt up to the cap. Below the cap up to a fifth is added at random, so that
    targets that failed together are not tried together. What a target asks for has a cap of its own.
    """
    pace = settings.KHEISH.deliveries
    backoff = pace.initial_retry_ms * 2 ** min(max(attempts - 1, 0), _LARGEST_EXPONENT)
    spread = min(backoff, pace.max_retry_ms) * (1 + _JITTER * random.random())  # noqa: S311 (no secret)
    asked = min((asked_seconds or 0) * 1000, pace.max_retry_after_ms)
    return max(min(spread, pace.max_retry_ms), asked) / 1000


def is_last(attempts: int) -> bool:
    """Tell whether attempt number ``attempts`` is the last one a delivery gets."""
    return attempts >= settings.KHEISH.deliveries.max_attempts


def opens_circuit(failures: int) -> bool:
    """Tell whether a target that failed this often in a row is left alone for a while."""
    threshold = settings.KHEISH.deliveries.circuit_failure_threshold
    return 0 < threshold <= failures


def cooldown_seconds() -> float:
    """Return how long an open circuit leaves its target alone."""
    return settings.KHEISH.deliveries.circuit_cooldown_ms / 1000
