"""Retries of one model call, visible to the caller so that each can be journalled."""

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from sessions_app.providers.base import Cancelled, ProviderError

T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20.0
# A server may ask for an hour. Beyond this the failure is reported instead, so that a fallback route or a
# person takes over; asking again earlier than told would only make it worse.
LONGEST_RETRY_AFTER_SECONDS = 60.0


def delay_before(attempt: int, error: ProviderError, *, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait before ``attempt`` (2 is the first retry); never less than the server asked for."""
    ceiling = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempt - 2, 16))
    backoff = ceiling * (0.5 + jitter() / 2)  # half of it random: callers that failed together spread out
    return max(backoff, error.retry_after_seconds or 0.0)


def call_with_retries(
    call: Callable[[], T],
    *,
    attempts: int,
    cancelled: threading.Event,
    sleep: Callable[[float], object] | None = None,
    on_retry: Callable[[ProviderError, float], None] | None = None,
) -> T:
    """Return what ``call()`` returns, called at most ``attempts`` times.

    It consumes the whole answer, for instance ``lambda: collect(provider.stream(...), on_delta)``: a stream
    can fail half-way, and then starts again from nothing. ``on_retry(error, delay_seconds)`` is told before
    each wait. ``sleep`` defaults to waiting for ``cancelled``, so a
    cancellation ends the wait at once. Raises the last ProviderError, or Cancelled.
    """
    attempt = 1
    while True:
        if cancelled.is_set():
            raise Cancelled
        try:
            return call()
        except ProviderError as error:
            if attempt >= attempts or not _worth_retrying(error):
                raise
            attempt += 1
            delay = delay_before(attempt, error)
            if on_retry is not None:
                on_retry(error, delay)
        (sleep or cancelled.wait)(delay)


def _worth_retrying(error: ProviderError) -> bool:
    return error.retryable and (error.retry_after_seconds or 0.0) <= LONGEST_RETRY_AFTER_SECONDS
