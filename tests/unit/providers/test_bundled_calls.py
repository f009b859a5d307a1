"""The bundled scripts call tools that exist, in the way they want to be called."""

import json

import pytest

from sessions_app.providers import script_file
from sessions_app.tools import registry


@pytest.mark.parametrize("name", script_file.names())
def test_every_call_of_a_bundled_script_is_valid(name: str) -> None:
    for case in script_file.from_options({"script": name}).cases:
        for call in (call for step in case.steps for turn in step for call in turn.tool_calls):
            tool = registry.get(call.name)
            assert tool is not None, call.name
            assert registry.validate(tool, json.loads(json.dumps(call.arguments))) == []
