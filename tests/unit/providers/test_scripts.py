"""Script files: what they may say, and how a mistake in one is explained."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions_app.providers import registry, script_file
from sessions_app.providers.base import Endpoint, ProviderError


def problem(script: Any) -> str:
    problems = registry.problems(Endpoint(driver="scripted", options={"script": script}))
    return problems[0] if problems else ""


@pytest.mark.parametrize("name", script_file.names())
def test_bundled_scripts_are_sound_and_say_what_they_are_for(name: str) -> None:
    assert script_file.from_options({"script": name}).description


def test_the_bundle() -> None:
    assert script_file.names() == ["echo", "incident", "welcome"]
    assert script_file.from_options({}) == script_file.from_options({"script": "welcome"})


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({}, "'turns' is a required property"),
        ({"turns": []}, "turns: "),
        ({"turns": [{"text": 7}]}, "turns[0].text: 7 is not of type 'string'"),
        ({"turns": [{"txt": "a"}]}, "turns[0]: Additional properties are not allowed ('txt' was unexpected)"),
        ({"turns": [{"fault": {"kind": "flood"}}]}, "turns[0].fault.kind: 'flood' is not one of"),
        (
            {"turns": [{"fault": {"kind": "stall", "times": 0}}]},
            "turns[0].fault.times: 0 is less than the minimum of 1",
        ),
        (
            {"turns": [{"tool_calls": [{"arguments": {}}]}]},
            "turns[0].tool_calls[0]: 'name' is a required property",
        ),
        ({"turns": [{"either": []}]}, "turns[0].either: "),
        ({"turns": [{"delay_ms": -1}]}, "turns[0].delay_ms: -1 is less than the minimum of 0"),
        (
            {"turns": [{"when": {"result_matches": "("}}]},
            "turns[0].when.result_matches: not a regular expression",
        ),
        (
            {"turns": [{}], "cases": [{"match": {"matches": "["}, "turns": [{}]}]},
            "cases[0].match.matches: not a regular",
        ),
        ("no-such-script", "no script is called 'no-such-script'; bundled are echo, incident, welcome"),
        ("turns: [", "not YAML: "),
        ("turns:\n  - text: a\n   b: c\n", "(line 3)"),
        ("- just\n- a list\n", "the script: "),
        ("a: &x [1]\nturns: [*x]", "aliases are not allowed (line 2)"),
        ("turns: [{tool_calls: [{name: a, arguments: {b: !!binary aGk=}}]}]", "something that JSON cannot"),
        ("turns: [{tool_calls: [{name: a, arguments: {b: .nan}}]}]", "something that JSON cannot"),
        ("[" * 5000, "not YAML"),
        (7, "must be a bundled name, YAML text or an object"),
        ("x" * 300_000, "larger than"),
    ],
)
def test_mistakes_are_explained_by_place(script: Any, said: str) -> None:
    found = problem(script)
    assert found.startswith("script: ")
    assert said in found


def test_yaml_text_mapping_and_file_are_one(tmp_path: Path) -> None:
    text = 'turns:\n  - text: "on 2026-01-02"\n    tool_calls: [{name: a, arguments: {day: 2026-01-02}}]\n'
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    call = {"name": "a", "arguments": {"day": "2026-01-02"}}
    mapping = {"turns": [{"text": "on 2026-01-02", "tool_calls": [call]}]}
    scripts = [{"script": text}, {"script": mapping}, {"script_path": str(path)}]
    assert len({repr(script_file.from_options(options)) for options in scripts}) == 1


def test_the_route_may_set_the_pace() -> None:
    script = {"chunk_delay_ms": 50, "turns": [{"text": "a"}, {"text": "b", "chunk_delay_ms": 70}]}
    (case,) = script_file.from_options({"script": script, "chunk_delay_ms": 0}).cases
    assert [turn.chunk_delay_seconds for (turn,) in case.steps] == [0, 0.07]


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "turns: [{}]"), ("gone.yaml", None), ("b.yaml", "key: secret")]
)
def test_files_that_cannot_be_scripts_reveal_nothing(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ProviderError) as caught:
        script_file.from_options({"script_path": str(tmp_path / name)})
    assert caught.value.kind == "invalid"
    assert "secret" not in caught.value.message


def test_script_or_path_not_both() -> None:
    with pytest.raises(ProviderError, match="not both"):
        script_file.from_options({"script": "echo", "script_path": "a.yaml"})


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["turns", "text", "either"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY | st.text() | st.fixed_dictionaries({"turns": st.lists(ANY, min_size=1, max_size=3)}))
def test_any_option_gives_a_script_or_a_reason(script: Any) -> None:
    assert isinstance(problem(script), str)
