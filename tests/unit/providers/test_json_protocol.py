"""One JSON object per answer instead of native tool calls."""

import json
from typing import Any

import jsonschema
import pytest

from sessions_app.providers import json_protocol
from sessions_app.providers.base import Completion, Message, ToolCallPart
from tests.support.fault_server import FaultServer, finish, stream, text
from tests.unit.providers.conftest import READ_FILE, Ask, make_request

CALL = ToolCallPart(id="c1", name="read_file", arguments='{"path": "a"}')
HISTORY = (
    Message(role="user", content="go"),
    Message(role="assistant", content="looking", tool_calls=(CALL, CALL)),
    Message(role="tool", content="first", tool_call_id="c1"),
    Message(role="tool", content="no such file", tool_call_id="c1", is_error=True),
    Message(role="user", content="and now?"),
)


def answer(server: FaultServer, ask: Ask, written: str, **fields: Any) -> Completion:
    server.answer = stream(*(text(piece) for piece in written), finish())
    return ask(make_request(tool_protocol="json", **fields))


def test_the_request_carries_tools_as_words_and_a_schema(server: FaultServer, ask: Ask) -> None:
    answer(server, ask, "{}")
    body = server.exchanges[0].body
    assert "tools" not in body
    assert "tool_choice" not in body
    assert "read_file: Read a file." in body["messages"][0]["content"]
    assert body["response_format"]["type"] == "json_schema"


def test_an_action_becomes_a_call(server: FaultServer, ask: Ask) -> None:
    done = answer(server, ask, '{"action": "read_file", "arguments": {"path": "a"}}')
    (call,) = done.tool_calls
    assert (call.name, json.loads(call.arguments), done.finish_reason) == (
        "read_file",
        {"path": "a"},
        "tool_calls",
    )
    assert (done.text, bool(call.id)) == ("", True)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('{"action": "final", "answer": "all good"}', "all good"),
        ('```json\n{"action": "final", "answer": "fenced"}\n```', "fenced"),
        ('{"action": "final", "answer": ["a", 1]}', '["a", 1]'),
        ("just words", "just words"),
        ('{"action": 7}', '{"action": 7}'),
        ('["not", "an object"]', '["not", "an object"]'),
        ('{"action": "read_fi', '{"action": "read_fi'),
    ],
)
def test_everything_else_is_the_answer(server: FaultServer, ask: Ask, written: str, shown: str) -> None:
    done = answer(server, ask, written)
    assert (done.text, done.tool_calls, done.finish_reason) == (shown, (), "stop")


def test_history_takes_turns() -> None:
    encoded = json_protocol.encode(make_request(*HISTORY))
    assert [message.role for message in encoded.messages] == ["user", "assistant", "user"]
    assert encoded.messages[1].content.count('"action": "read_file"') == 2
    assert "Result of read_file:\nfirst" in encoded.messages[2].content
    assert "Error of read_file:\nno such file" in encoded.messages[2].content
    assert encoded.messages[2].content.endswith("and now?")


def test_without_tools_the_answer_is_plain(server: FaultServer, ask: Ask) -> None:
    done = answer(server, ask, '{"action": "final", "answer": "x"}', tools=())
    assert done.text == '{"action": "final", "answer": "x"}'
    assert "response_format" not in server.exchanges[0].body


@pytest.mark.parametrize(
    ("choice", "allowed"),
    [
        (None, {"read_file", "final"}),
        ("auto", {"read_file", "final"}),
        ("required", {"read_file"}),
        ("none", {"final"}),
        ({"name": "read_file"}, {"read_file"}),
    ],
)
def test_tool_choice_narrows_the_schema(choice: Any, allowed: set[str]) -> None:
    schema = json_protocol.schema(make_request(generation={"tool_choice": choice}, tools=(READ_FILE,)))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {form["properties"]["action"]["const"] for form in schema["anyOf"]} == allowed
    wrong = {"action": "read_file", "arguments": {"nothing": 1}}
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(wrong))
