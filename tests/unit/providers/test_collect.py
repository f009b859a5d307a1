"""Putting a stream together."""

from collections.abc import Iterator

import pytest

from sessions_app.providers.base import (
    Finished,
    Message,
    Part,
    ProviderError,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    collect,
)

PARTS: list[Part] = [
    ReasoningDelta("hm"),
    TextDelta("one "),
    TextDelta("two"),
    ToolCallDelta(1, "c2", "list_files", "{}"),
    ToolCallDelta(0, "c1", "read_file", '{"path"', {"signature": "s"}),
    ToolCallDelta(0, "c1", "read_file", ': "a"}'),
    Usage(3, 4, estimated=False),
    Finished("tool_calls", "req_1", {"reasoning_content": "hm"}),
]


def test_a_whole_completion_and_its_message() -> None:
    done = collect(iter(PARTS))
    calls = (
        ToolCallPart(id="c1", name="read_file", arguments='{"path": "a"}', extra={"signature": "s"}),
        ToolCallPart(id="c2", name="list_files", arguments="{}"),
    )
    assert (done.text, done.tool_calls, done.usage.output_tokens) == ("one two", calls, 4)
    assert (done.finish_reason, done.request_id) == ("tool_calls", "req_1")
    assert done.message() == Message(
        role="assistant", content="one two", tool_calls=calls, extra={"reasoning_content": "hm"}
    )


def test_only_deltas_are_shown() -> None:
    seen: list[Part] = []
    collect(iter(PARTS), seen.append)
    assert seen == PARTS[:6]


def test_a_stream_without_its_end_failed() -> None:
    with pytest.raises(ProviderError) as caught:
        collect(iter(PARTS[:-1]))
    assert caught.value.kind == "transport"


def test_the_stream_is_closed_when_the_consumer_fails() -> None:
    closed: list[bool] = []

    def parts() -> Iterator[Part]:
        try:
            yield from PARTS
        finally:
            closed.append(True)

    def refuse(delta: Part) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        collect(parts(), refuse)
    assert closed == [True]
