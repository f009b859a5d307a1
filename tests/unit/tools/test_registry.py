"""Every tool declares itself fully, and arguments are checked before anything runs."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.tools import registry
from sessions_app.tools.base import Probeable, ToolResult, ToolSpec, clip, object_schema
from sessions_app.tools.policy import decide

EFFECTS = {
    "apply_patch": "probeable",
    "ask_user_question": "read",
    "bash": "opaque",
    "edit_file": "probeable",
    "emit_output": "idempotent",
    "glob_search": "read",
    "grep_search": "read",
    "list_files": "read",
    "read_file": "read",
    "task_output": "read",
    "task_stop": "idempotent",
    "todo_write": "idempotent",
    "web_fetch": "read",
    "write_file": "probeable",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_the_tools_and_their_effects():
    assert {name: tool.spec.effect for name, tool in registry.all_tools().items()} == EFFECTS


@pytest.mark.parametrize("name", EFFECTS)
def test_every_tool_declares_itself(name):
    tool = registry.get(name)
    spec = tool.spec
    assert spec.name == name
    assert spec.description and spec.timeout_seconds > 0 and spec.output_limit_bytes > 0
    assert spec.schema["additionalProperties"] is False
    assert isinstance(tool, Probeable) == (spec.effect == "probeable")
    assert registry.validate(tool, {"unheard_of": 1})


@pytest.mark.parametrize("name", EFFECTS)
def test_what_changes_something_asks_and_what_reads_does_not(name):
    asks = decide(tool_name=name, mode="default").decision == "ask"
    assert asks == (registry.get(name).spec.sandbox == "workspace_write")


def test_unknown_names():
    assert registry.get("unheard_of") is None


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_TOOLS", dict(registry._TOOLS))


class Extra:
    spec = ToolSpec(name="extra", description="An extra tool.", schema=object_schema(), effect="read")

    def run(self, arguments: dict[str, Any], context: object) -> ToolResult:
        return ToolResult(content="")


def test_our_own_tools_are_what_is_asked_of_others(own_registry):
    own = registry._OWN
    registry._TOOLS.clear()
    for tool in own:
        registry.register(tool)
    assert registry.all_tools() == {tool.spec.name: tool for tool in own}


def test_a_schema_that_is_none_fails_at_start(own_registry):
    tool = Extra()
    tool.spec = dataclasses.replace(Extra.spec, schema={"type": "nothing"})
    with pytest.raises(Exception, match="nothing"):
        registry.register(tool)


def test_tools_can_be_added_once(own_registry):
    registry.register(Extra())
    assert registry.get("extra") is not None
    with pytest.raises(ValueError, match="already"):
        registry.register(Extra())


def test_a_probeable_tool_needs_a_probe(own_registry):
    tool = Extra()
    tool.spec = dataclasses.replace(Extra.spec, effect="probeable")
    with pytest.raises(ValueError, match="no probe"):
        registry.register(tool)


@pytest.mark.parametrize(
    "arguments",
    [
        None, [], "x", {}, {"path": ""}, {"path": 1}, {"path": "x", "more": 1}, {"path": "a\x00"},
        {"path": "\ud800"}, {"path": "x", "start_line": 1.0}, {"path": "x", "start_line": True},
        {"path": "x", "start_line": 0}, {"path": "x", "\ud800": 1},
    ],
)  # fmt: skip
def test_bad_arguments_are_named(arguments):
    found = registry.validate(registry.get("read_file"), arguments)
    assert found and all(line.startswith("$") for line in found)
    "\n".join(found).encode()


def test_problems_are_few_and_short():
    found = registry.validate(registry.get("todo_write"), {"todos": [{"content": "x" * 5000}] * 50})
    assert len(found) == 10
    assert all(len(line) < 400 for line in found)


@given(name=st.sampled_from(sorted(EFFECTS)), arguments=JSON)
def test_any_json_can_be_checked(name, arguments):
    assert isinstance(registry.validate(registry.get(name), arguments), list)


@given(st.text(), st.integers(0, 40))
def test_clip_keeps_whole_characters(text, limit):
    clipped, truncated = clip(text, limit)
    assert len(clipped.encode()) <= limit
    assert text.startswith(clipped)
    assert truncated == (clipped != text)


@pytest.mark.parametrize("name", sorted(EFFECTS))
def test_no_description_of_an_argument_is_empty(name):
    assert '"description": ""' not in json.dumps(registry.get(name).spec.schema)
