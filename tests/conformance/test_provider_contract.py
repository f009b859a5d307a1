"""What every driver does, whatever is behind it."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from sessions_app.providers.base import (
    Cancelled,
    Completion,
    Delta,
    Finished,
    Message,
    Part,
    ProviderError,
    TextDelta,
    Usage,
    collect,
)
from sessions_app.providers.retry import call_with_retries
from tests.conformance.conftest import API_KEY, PATIENT, Bench, make_request

PROMPT_SECONDS = 1.0  # far above what it takes, far below the next timeout


def answer(bench: Bench, cancelled: threading.Event, **fields: object) -> Completion:
    return collect(bench.provider().stream(make_request(**fields), cancelled=cancelled))


def failure(bench: Bench, cancelled: threading.Event) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        answer(bench, cancelled)
    return caught.value


def test_text_arrives_in_pieces_then_usage_then_the_end(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("Latency rose at ten.")
    parts = list(bench.provider().stream(make_request(), cancelled=cancelled))
    texts, (usage, finished) = parts[:-2], parts[-2:]
    assert len(texts) > 2
    assert "".join(part.text for part in texts if isinstance(part, TextDelta)) == "Latency rose at ten."
    assert isinstance(usage, Usage)
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"
    assert finished.request_id


def test_parallel_tool_calls_keep_order_and_have_ids(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("", ("read_file", {"path": "latency.txt"}), ("list_files", {"path": "."}))
    done = answer(bench, cancelled)
    assert [(call.name, json.loads(call.arguments)) for call in done.tool_calls] == [
        ("read_file", {"path": "latency.txt"}),
        ("list_files", {"path": "."}),
    ]
    assert len({call.id for call in done.tool_calls} - {""}) == 2
    assert done.finish_reason == "tool_calls"


def test_a_conversation_with_tool_results_goes_on(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("", ("read_file", {"path": "latency.txt"}))
    bench.reply("It says 900 ms.")
    question = Message(role="user", content="What is in latency.txt?")
    first = answer(bench, cancelled)
    result = Message(role="tool", content="p99 900 ms", tool_call_id=first.tool_calls[0].id)
    request = make_request(question, first.message(), result, step=2)
    second = collect(bench.provider().stream(request, cancelled=cancelled))
    assert (second.text, second.tool_calls, second.finish_reason) == ("It says 900 ms.", (), "stop")


def test_tool_choice_none_gets_no_calls(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("Only words.")
    assert answer(bench, cancelled, generation={"tool_choice": "none"}).tool_calls == ()


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        ("overflow", "overflow", False),
        ("rate_limited", "rate_limited", True),
        ("quota", "rate_limited", False),
        ("auth", "auth", False),
        ("invalid", "invalid", False),
        ("overloaded", "overloaded", True),
    ],
)
def test_failures_have_one_family(
    bench: Bench, cancelled: threading.Event, fault: str, kind: str, retryable: bool
) -> None:
    bench.fail(fault)
    error = failure(bench, cancelled)
    assert (error.kind, error.retryable) == (kind, retryable)
    assert error.message
    assert API_KEY not in f"{error!r} {error} {error.__context__!r} {error.__cause__!r}"


def test_retry_after_is_reported(bench: Bench, cancelled: threading.Event) -> None:
    bench.fail("rate_limited", retry_after=7)
    assert failure(bench, cancelled).retry_after_seconds == 7


def test_a_lost_connection_is_transport_and_what_came_before_was_shown(
    bench: Bench, cancelled: threading.Event
) -> None:
    bench.reply("one two three four five six")
    bench.break_off("disconnect", after_chunks=3)
    seen: list[Delta] = []
    with pytest.raises(ProviderError) as caught:
        collect(bench.provider().stream(make_request(), cancelled=cancelled), seen.append)
    assert (caught.value.kind, caught.value.retryable) == ("transport", True)
    assert seen


def test_silence_becomes_transport_after_the_read_timeout(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("one two three four five six")
    bench.break_off("stall", after_chunks=2)
    started = time.monotonic()
    assert failure(bench, cancelled).kind == "transport"
    assert 0.3 < time.monotonic() - started < 2


def test_malformed_arguments_are_handed_on_as_they_are(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("", ("read_file", {"path": "latency.txt"}))
    bench.malformed_arguments()
    (call,) = answer(bench, cancelled).tool_calls
    assert call.name == "read_file"
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.arguments)


def test_cancelled_before_it_began(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("never seen")
    cancelled.set()
    with pytest.raises(Cancelled):
        answer(bench, cancelled)


def test_cancelling_wakes_a_silent_stream(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("one two three four five six")
    bench.break_off("stall", after_chunks=2)
    moments: list[float] = []

    def set_after_first(delta: Delta) -> None:
        if not moments:
            moments.append(time.monotonic())
            threading.Timer(0.05, cancelled.set).start()

    with pytest.raises(Cancelled):
        collect(bench.provider(PATIENT).stream(make_request(), cancelled=cancelled), set_after_first)
    assert time.monotonic() - moments[0] < PROMPT_SECONDS


def test_retries_are_visible_and_recover(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("back again")
    bench.fail("overloaded", times=2, retry_after=0.1)
    provider, seen, numbers = bench.provider(), [], count(1)
    done = call_with_retries(
        lambda: collect(provider.stream(make_request(attempt=next(numbers)), cancelled=cancelled)),
        attempts=4,
        cancelled=cancelled,
        on_retry=lambda error, delay: seen.append(error.kind),
        sleep=lambda seconds: time.sleep(0.2),  # longer than asked for, shorter than the real backoff
    )
    assert done.text == "back again"
    assert seen == ["overloaded"] * 2


def test_retries_wait_as_long_as_told(bench: Bench, cancelled: threading.Event) -> None:
    bench.reply("back again")
    bench.fail("rate_limited", retry_after=1)
    provider, delays, numbers = bench.provider(), [], count(1)
    done = call_with_retries(
        lambda: collect(provider.stream(make_request(attempt=next(numbers)), cancelled=cancelled)),
        attempts=2,
        cancelled=cancelled,
        on_retry=lambda error, delay: delays.append(delay),
    )
    assert done.text == "back again"
    assert delays[0] >= 1


def test_a_consumer_that_stops_reading_leaves_nothing_behind(
    bench: Bench, cancelled: threading.Event
) -> None:
    bench.reply("one two three four five six")
    bench.break_off("stall", after_chunks=2)
    stream = bench.provider(PATIENT).stream(make_request(), cancelled=cancelled)
    first: Part = next(stream)
    assert isinstance(first, TextDelta)
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < PROMPT_SECONDS


def test_one_provider_serves_many_threads(bench: Bench, cancelled: threading.Event) -> None:
    provider = bench.provider()

    def call(number: int) -> str:
        request = make_request(Message(role="user", content=f"question {number}"), tools=())
        return collect(provider.stream(request, cancelled=cancelled)).finish_reason

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(call, range(48))) == {"stop"}
