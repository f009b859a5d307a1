"""What compatible servers really send, one server's habit per test."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions_app.providers.base import Message, ProviderError, ReasoningDelta, ToolCallPart, collect
from sessions_app.providers.openai_stream import ChunkReader
from tests.support.fault_server import Exchange, FaultServer, delta, finish, plain, sse, stream, text, tool
from tests.unit.providers.conftest import Ask, make_request

USAGE = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}


def calls(*deltas: dict[str, Any]) -> dict[str, Any]:
    return delta(tool_calls=list(deltas))


def pairs(done: Any) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in done.tool_calls]


def test_usage_comes_from_the_server(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(text("hi"), finish(), USAGE)
    usage = ask().usage
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (11, 7, False)


def test_missing_usage_is_estimated(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(text("hello there"), finish())
    usage = ask().usage
    assert usage.estimated
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


def test_no_finish_reason_is_transport(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(text("half an ans"))
    with pytest.raises(ProviderError) as caught:
        ask()
    assert (caught.value.kind, caught.value.retryable) == ("transport", True)


def test_zero_chunks_is_transport(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(done=False)
    with pytest.raises(ProviderError, match="before it was complete") as caught:
        ask()
    assert caught.value.kind == "transport"


@pytest.mark.parametrize("line", [b'{"choices": [', b"[" * 100_000, b'{"choices": "\xff"}'])
def test_not_json_is_transport(server: FaultServer, ask: Ask, line: bytes) -> None:
    server.answer = stream(text("a"), b"data: " + line + b"\n\n")
    with pytest.raises(ProviderError, match="not JSON") as caught:
        ask()
    assert caught.value.kind == "transport"


def test_cut_off_after_the_finish_is_an_answer(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(text("whole"), finish(), b'data: {"usa', done=False)
    assert ask().text == "whole"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, "rate_limited"),
        ({"error": {"message": "upstream is gone", "code": 502}}, "overloaded"),
        ({"error": {"message": "This model's maximum context length is 8192 tokens"}}, "overflow"),
        ({"error": {"message": "boom"}}, "overloaded"),
        ({"error": {"message": "no", "type": "authentication_error"}}, "auth"),
    ],
)
def test_error_inside_the_stream(server: FaultServer, ask: Ask, body: dict[str, Any], kind: str) -> None:
    server.answer = stream(text("a"), body)
    with pytest.raises(ProviderError) as caught:
        ask()
    assert caught.value.kind == kind
    assert body["error"]["message"] in caught.value.message


def test_error_event(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(
        text("a"), b'event: error\ndata: {"message": "overheated", "type": "server_error"}\n\n'
    )
    with pytest.raises(ProviderError, match="overheated") as caught:
        ask()
    assert caught.value.kind == "overloaded"


def test_html_with_200_points_at_the_base_url(server: FaultServer, ask: Ask) -> None:
    server.answer = plain(200, "<html>welcome</html>", "text/html; charset=utf-8")
    with pytest.raises(ProviderError, match="base_url") as caught:
        ask()
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize(
    "body", [{"error": {"message": "no model loaded"}}, {"choices": None}, [], "nonsense"]
)
def test_plain_json_that_is_no_answer(server: FaultServer, ask: Ask, body: Any) -> None:
    server.answer = plain(200, body)
    with pytest.raises(ProviderError) as caught:
        ask()
    assert caught.value.kind in ("overloaded", "transport")


def test_server_that_does_not_stream(server: FaultServer, ask: Ask) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a"}'}}
    message = {"role": "assistant", "content": "looking", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    server.answer = plain(200, {"id": "x1", "choices": [choice], "usage": USAGE["usage"]})
    done = ask()
    assert (done.text, pairs(done), done.usage.input_tokens) == (
        "looking",
        [("read_file", {"path": "a"})],
        11,
    )


def test_calls_without_index_or_id(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(
        calls(tool('{"path": "a"}', name="read_file"), tool('{"path": "b"}', name="read_file")),
        finish("tool_calls"),
    )
    done = ask()
    assert pairs(done) == [("read_file", {"path": "a"}), ("read_file", {"path": "b"})]
    assert len({call.id for call in done.tool_calls} - {""}) == 2


def test_pieces_without_index_continue_the_last_call(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(
        calls(tool('{"pa', id="c1", name="read_file")),
        calls(tool('th": "a"}')),
        calls(tool('{"path"', id="c2", name="read_file")),
        calls(tool(': "b"}', id="c2")),
        finish("tool_calls"),
    )
    assert pairs(ask()) == [("read_file", {"path": "a"}), ("read_file", {"path": "b"})]


def test_name_repeated_in_every_piece(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(
        calls(tool('{"path"', index=0, id="c1", name="read_file")),
        calls(tool(': "a"}', index=0, id="", name="read_file")),
        finish("tool_calls"),
    )
    assert pairs(ask()) == [("read_file", {"path": "a"})]


def test_name_repeated_without_index_or_id(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(
        calls(tool('{"path"', name="read_file")),
        calls(tool(': "a"}', name="read_file")),
        finish("tool_calls"),
    )
    assert pairs(ask()) == [("read_file", {"path": "a"})]


def test_one_index_for_all_calls(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(
        calls(tool('{"path": "a"}', index=0, id="c1", name="read_file")),
        calls(tool('{"path": "b"}', index=0, id="c2", name="read_file")),
        finish("stop"),
    )
    assert pairs(ask()) == [("read_file", {"path": "a"}), ("read_file", {"path": "b"})]


READ_A, READ_B = ("read_file", {"path": "a"}), ("read_file", {"path": "b"})


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (
            [
                tool('{"path": "a"}', index=0, id="", name="read_file"),
                tool('{"path": "b"}', index=0, id="", name="read_file"),
            ],
            [READ_A, READ_B],
        ),
        (
            [tool('{"path": "a"}', index=0, name="read_file"), tool("{}", index=0, name="list_files")],
            [READ_A, ("list_files", {})],
        ),
        (
            [tool("", index=0, name="list_files"), tool('{"path": "a"}', index=0, name="read_file")],
            [("list_files", None), READ_A],
        ),
        (
            [
                tool('{"path": "a"}', id="call_0", name="read_file"),
                tool('{"path": "b"}', id="call_0", name="read_file"),
            ],
            [READ_A, READ_B],
        ),
        (
            [
                tool("", index=0, id="c1", name="read_file"),
                tool('{"path"', index=0, id="c2"),
                tool(': "a"}', index=0, id="c3"),
            ],
            [READ_A],
        ),
        ([tool("", id="c1", name="read_file"), tool('{"path": "a"}', id="c2")], [READ_A]),
        ([tool('{"path": "a"}', name="read_file"), tool("", name="read_file")], [READ_A]),
        (
            [
                tool("", index=0, id="c1", name="read_"),
                tool("", index=0, name="fi"),
                tool('{"path": "a"}', index=0, name="le"),
            ],
            [READ_A],
        ),
        (
            [tool("", id="c1", name="read"), tool('{"path": "a"}', id="c1", name="_file")],
            [READ_A],
        ),
        (
            [
                {"index": "0", "id": "c1", "function": {"name": "read_file", "arguments": '{"path"'}},
                {"index": "1", "id": "c2", "function": {"name": "read_file", "arguments": '{"path"'}},
                {"index": "0", "function": {"arguments": ': "a"}'}},
                {"index": "1", "function": {"arguments": ': "b"}'}},
            ],
            [READ_A, READ_B],
        ),
    ],
    ids=[
        "one index and no ids",
        "one index, other names",
        "one index, nothing to say",
        "one id for all",
        "an id a piece",
        "an id a piece and no index",
        "the name again at the end",
        "a name in pieces",
        "a name in pieces, the id again",
        "index as text",
    ],
)
def test_pieces_find_their_calls(
    server: FaultServer, ask: Ask, pieces: list[dict[str, Any]], expected: list[tuple[str, Any]]
) -> None:
    server.answer = stream(*(calls(piece) for piece in pieces), finish("tool_calls"))
    done = ask()
    assert [(call.name, json.loads(call.arguments or "null")) for call in done.tool_calls] == expected
    assert len({call.id for call in done.tool_calls}) == len(expected)


def test_whole_call_with_finish_reason_stop(server: FaultServer, ask: Ask) -> None:
    chunk = calls(tool('{"path": "a"}', index=0, id="c1", name="read_file"))
    chunk["choices"][0]["finish_reason"] = "stop"
    server.answer = stream(chunk)
    assert ask().finish_reason == "tool_calls"


def test_arguments_as_an_object(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(calls(tool({"path": "a"}, index=0, id="c1", name="read_file")), finish())
    assert pairs(ask()) == [("read_file", {"path": "a"})]


def test_an_id_used_before_is_replaced(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(calls(tool("{}", index=0, id="call_0", name="read_file")), finish("tool_calls"))
    before = Message(
        role="assistant",
        content="",
        tool_calls=(ToolCallPart(id="call_0", name="read_file", arguments="{}"),),
    )
    result = Message(role="tool", content="x", tool_call_id="call_0")
    done = ask(make_request(Message(role="user", content="go"), before, result))
    assert done.tool_calls[0].id not in ("", "call_0")


def test_only_the_first_choice_counts(server: FaultServer, ask: Ask) -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    server.answer = stream(text("yes"), other, finish())
    done = ask()
    assert (done.text, done.finish_reason) == ("yes", "stop")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("length", "length"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("eos", "stop"),
        ("end_turn", "stop"),
    ],
)
def test_finish_reasons(server: FaultServer, ask: Ask, sent: str, reason: str) -> None:
    server.answer = stream(text("a"), finish(sent))
    assert ask().finish_reason == reason


@pytest.mark.parametrize("sent", ["error", "ERROR", "abort", "insufficient_system_resource", "network_error"])
def test_half_an_answer_of_a_server_that_gave_up_is_none(server: FaultServer, ask: Ask, sent: str) -> None:
    server.answer = stream(text("half an ans"), finish(sent))
    with pytest.raises(ProviderError, match="gave up") as caught:
        ask()
    assert (caught.value.kind, caught.value.retryable) == ("overloaded", True)


def test_text_in_typed_pieces_and_a_refusal(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(
        delta(content=[{"type": "text", "text": "a"}]), delta(refusal="I will not"), finish()
    )
    assert ask().text == "aI will not"


def test_character_cut_in_half_is_joined(server: FaultServer, ask: Ask) -> None:
    halves = [
        b'data: {"choices":[{"index":0,"delta":{"content":"' + half + b'"}}]}\n\n'
        for half in (rb"\ud83d", rb"\ude00")
    ]
    server.answer = stream(*halves, text("a\0b"), finish())
    assert ask().text == "😀a\ufffdb"


def test_reasoning_is_shown_and_sent_back(server: FaultServer, ask: Ask) -> None:
    signature = {"google": {"thought_signature": "abc"}}
    call = {**tool("{}", index=0, id="c1", name="read_file"), "extra_content": signature}
    server.answer = stream(
        delta(reasoning_content="think "), delta(reasoning_content="hard"), calls(call), finish()
    )
    seen: list[Any] = []
    first = ask(on_delta=seen.append)
    assert [part.text for part in seen if isinstance(part, ReasoningDelta)] == ["think ", "hard"]
    result = Message(role="tool", content="x", tool_call_id="c1")
    ask(make_request(Message(role="user", content="go"), first.message(), result))
    sent = server.exchanges[-1].body["messages"][2]
    assert sent["reasoning_content"] == "think hard"
    assert sent["tool_calls"][0]["extra_content"] == signature
    assert not {"origin", "token_ids"} & set(sent)


def test_extras_of_another_server_stay_home(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(delta(reasoning_content="think"), text("a"), finish())
    first = ask()
    ask(make_request(Message(role="user", content="go"), first.message(), model="another-model"))
    assert "reasoning_content" not in server.exchanges[-1].body["messages"][2]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "delta", "content", "tool_calls", "function", "name", "arguments", "id", "usage"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
CHUNK = st.dictionaries(st.sampled_from(["id", "choices", "usage", "error"]), JSON, max_size=3) | st.builds(
    lambda inner: {"choices": [{"index": 0, "delta": inner, "finish_reason": "stop"}]}, JSON
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CHUNK | JSON, max_size=4))
def test_no_shape_of_chunk_escapes_the_error_family(chunks: list[Any]) -> None:
    reader = ChunkReader(make_request(), origin="here", secrets=())

    def parts() -> Any:
        for chunk in chunks:
            yield from reader.parts(chunk)
        yield from reader.finish()

    try:
        done = collect(parts())
    except ProviderError:
        return
    assert all(isinstance(call.arguments, str) for call in done.tool_calls)


def test_a_servers_cookie_stays_with_the_call(server: FaultServer, ask: Ask) -> None:
    def remembering(exchange: Exchange) -> None:
        exchange.head(content_type="text/event-stream", connection="close", set_cookie="who=first; Path=/")
        exchange.send(sse(text("ok"), finish(), b"data: [DONE]\n\n"))
        exchange.close()

    server.answer = remembering
    ask()
    ask()
    assert all("cookie" not in map(str.lower, exchange.headers) for exchange in server.exchanges)
    assert len(server.exchanges) == 2


@pytest.mark.parametrize(
    "between",
    [b"event: ping\n\n", b"retry: 1000\n\n", b"data:\n\n", b"data: \n\n", b": alive\n\n", b"id: 7\n\n\n\n"],
    ids=["ping", "retry", "bare", "blank", "comment", "id"],
)
def test_events_without_data_keep_the_connection_alive(server: FaultServer, ask: Ask, between: bytes) -> None:
    server.answer = stream(between, text("a"), between, text("b"), between, finish(), between)
    assert ask().text == "ab"


@pytest.mark.parametrize("whole", [True, False])
def test_a_byte_order_mark_is_no_part_of_the_answer(server: FaultServer, ask: Ask, whole: bool) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.close()
        exchange.head(content_type="text/event-stream", connection="close")
        body = b"\xef\xbb\xbf" + sse(text("first "), text("second"), finish())
        for piece in [body] if whole else [body[at : at + 1] for at in range(len(body))]:
            exchange.send(piece)

    server.answer = answer
    assert ask().text == "first second"


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain", "application/problem+json", ""])
def test_an_error_or_an_answer_is_read_whatever_its_type(
    server: FaultServer, ask: Ask, content_type: str
) -> None:
    error = {"error": {"message": "the balance is used up", "code": "insufficient_quota"}}
    server.answer = plain(200, error, content_type)
    with pytest.raises(ProviderError, match="the balance is used up") as caught:
        ask()
    assert (caught.value.kind, caught.value.retryable) == ("rate_limited", False)
    message = {"role": "assistant", "content": "whole"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    server.answer = plain(200, {"choices": [choice]}, content_type)
    assert ask().text == "whole"
    server.answer = plain(200, "\n<!DOCTYPE html><p>Log in", content_type)
    with pytest.raises(ProviderError, match="base_url"):
        ask()


def test_a_stream_is_read_whatever_its_type(server: FaultServer, ask: Ask) -> None:
    server.answer = plain(200, sse(text("streamed"), finish()).decode(), "application/json")
    assert ask().text == "streamed"
