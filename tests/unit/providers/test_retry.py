"""Which failures are tried again, when, and who hears of it."""

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.providers.base import Cancelled, ErrorKind, ProviderError
from sessions_app.providers.retry import LONGEST_DELAY_SECONDS, call_with_retries, delay_before


def failing(*errors: ProviderError) -> Callable[[], str]:
    """Fails with these errors in turn, then answers."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "answered"

    return call


@pytest.mark.parametrize("kind", ["rate_limited", "overloaded", "transport"])
def test_passing_failures_are_tried_again(kind: ErrorKind, cancelled: threading.Event) -> None:
    slept: list[float] = []
    call = failing(ProviderError(kind, "x"), ProviderError(kind, "y"))
    assert call_with_retries(call, attempts=3, cancelled=cancelled, sleep=slept.append) == "answered"
    assert len(slept) == 2


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("auth", "x"),
        ProviderError("invalid", "x"),
        ProviderError("overflow", "x"),
        ProviderError("unknown", "x"),
        ProviderError("rate_limited", "quota", retryable=False),
        ProviderError("rate_limited", "an hour", retry_after_seconds=3600),
    ],
)
def test_lasting_failures_are_not(error: ProviderError, cancelled: threading.Event) -> None:
    with pytest.raises(ProviderError) as caught:
        call_with_retries(failing(error), attempts=5, cancelled=cancelled, sleep=pytest.fail)
    assert caught.value is error


def test_the_last_failure_is_raised(cancelled: threading.Event) -> None:
    errors = [ProviderError("overloaded", str(number)) for number in range(3)]
    with pytest.raises(ProviderError, match="1"):
        call_with_retries(failing(*errors), attempts=2, cancelled=cancelled, sleep=lambda seconds: None)


def test_the_caller_hears_before_each_wait(cancelled: threading.Event) -> None:
    heard: list[tuple[str, float]] = []
    call_with_retries(
        failing(ProviderError("rate_limited", "wait", retry_after_seconds=9)),
        attempts=2,
        cancelled=cancelled,
        sleep=lambda seconds: None,
        on_retry=lambda error, delay: heard.append((error.message, delay)),
    )
    assert heard == [("wait", 9)]


def test_cancelling_ends_the_wait(cancelled: threading.Event) -> None:
    error = ProviderError("rate_limited", "wait", retry_after_seconds=30)
    threading.Timer(0.05, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        call_with_retries(failing(error), attempts=2, cancelled=cancelled)
    assert time.monotonic() - started < 1


@given(attempt=st.integers(2, 10_000), jitter=st.floats(0, 1), told=st.none() | st.floats(0, 60))
def test_delays_grow_within_bounds_and_never_undercut_the_server(
    attempt: int, jitter: float, told: float | None
) -> None:
    error = ProviderError("rate_limited", "x", retry_after_seconds=told)
    delay = delay_before(attempt, error, jitter=lambda: jitter)
    assert delay >= (told or 0.25)
    assert delay <= max(told or 0, LONGEST_DELAY_SECONDS)
