"""What goes over the wire."""

from typing import Any

import pytest

from sessions_app.providers.base import Message, ProviderError, ToolCallPart
from sessions_app.providers.openai_request import body
from tests.unit.providers.conftest import READ_FILE, make_request


def sent(
    *messages: Message, refused: tuple[str, ...] = (), options: Any = None, **fields: Any
) -> dict[str, Any]:
    return body(make_request(*messages, **fields), origin="here", options=options or {}, refused=refused)


def test_the_least_there_is() -> None:
    fields = sent(system="", tools=())
    assert fields == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_generation_settings() -> None:
    schema = {"type": "object"}
    fields = sent(
        generation={
            "temperature": 0,
            "max_output_tokens": 9,
            "tool_choice": {"name": "read_file"},
            "allow_parallel_tool_calls": False,
            "reasoning": {"effort": "low"},
            "response_format": {"type": "structured_json", "schema": schema},
        }
    )
    assert (fields["temperature"], fields["max_tokens"], fields["parallel_tool_calls"]) == (0, 9, False)
    assert fields["tool_choice"] == {"type": "function", "function": {"name": "read_file"}}
    assert fields["reasoning_effort"] == "low"
    assert fields["response_format"]["json_schema"]["schema"] == schema
    assert fields["tools"][0]["function"]["parameters"] == READ_FILE.schema


def test_nulls_and_plain_text_mean_the_servers_default() -> None:
    names = ("temperature", "max_output_tokens", "tool_choice", "reasoning", "allow_parallel_tool_calls")
    fields = sent(generation={**dict.fromkeys(names), "response_format": "text"})
    assert set(fields) == {"model", "messages", "stream", "stream_options", "tools"}


def test_tool_settings_need_tools() -> None:
    generation = {"tool_choice": "auto", "allow_parallel_tool_calls": False}
    assert not {"tool_choice", "parallel_tool_calls"} & set(sent(tools=(), generation=generation))


@pytest.mark.parametrize("choice", ["sometimes", 7, {"tool": "x"}])
def test_a_tool_choice_that_means_nothing(choice: Any) -> None:
    with pytest.raises(ProviderError, match="tool_choice") as caught:
        sent(generation={"tool_choice": choice})
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('{"path": "a"}', '{"path": "a"}'),
        ('{"path": ', '{"malformed_arguments": "{\\"path\\": "}'),
        ('"a"', '{"malformed_arguments": "\\"a\\""}'),
        ('{"path": NaN}', '{"malformed_arguments": "{\\"path\\": NaN}"}'),
        ("", "{}"),
        ("[" * 100_000, '{"malformed_arguments": "' + "[" * 2000 + '"}'),
    ],
)
def test_arguments_in_the_history_are_always_an_object(written: str, kept: str) -> None:
    call = ToolCallPart(id="c1", name="read_file", arguments=written)
    message = sent(Message(role="assistant", content="", tool_calls=(call,)))["messages"][1]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"] == {"name": "read_file", "arguments": kept}


@pytest.mark.parametrize(
    ("made_up", "wire"),
    [
        ("read_file", "read_file"),
        ("multi_tool_use.parallel", "multi_tool_use_parallel"),
        ("", "unknown"),
        ("read file\n" * 20, ("read_file_" * 20)[:64]),
    ],
)
def test_names_in_the_history_are_such_that_servers_take_them(made_up: str, wire: str) -> None:
    call = ToolCallPart(id="c1", name=made_up, arguments="{}")
    message = sent(Message(role="assistant", content=" ", tool_calls=(call,)))["messages"][1]
    assert message["tool_calls"][0]["function"]["name"] == wire
    assert message["content"] is None


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_answer_that_said_nothing_is_left_out(content: str) -> None:
    silent = Message(role="assistant", content=content, extra={"reasoning_content": "hm", "origin": "here"})
    again = Message(role="user", content="well?")
    assert sent(silent, again)["messages"][1:] == [{"role": "user", "content": "well?"}]


@pytest.mark.parametrize(
    ("content", "wire"), [("no such file", "Error: no such file"), ("Error 2", "Error 2")]
)
def test_errors_say_so(content: str, wire: str) -> None:
    result = Message(role="tool", content=content, tool_call_id="c1", is_error=True)
    assert sent(result)["messages"][1] == {"role": "tool", "tool_call_id": "c1", "content": wire}


def test_text_that_has_no_utf8_form_is_mended() -> None:
    assert sent(Message(role="user", content="a\ud83db\0"))["messages"][1]["content"] == "a\ufffdb\ufffd"


def test_refused_fields_and_extra_body() -> None:
    fields = sent(
        generation={"max_output_tokens": 9},
        refused=("stream_options", "max_tokens"),
        options={"extra_body": {"seed": 7}},
    )
    assert "stream_options" not in fields
    assert "max_tokens" not in fields
    assert (fields["max_completion_tokens"], fields["seed"]) == (9, 7)
