"""How the fields of an object are told to a person."""

import pytest

from kheish_site.cli.fields import told


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (0, "0"),
        ("two\nlines", "two\nlines"),
        (["apr_1", "apr_2"], "apr_1, apr_2"),
        (["one, two", "three"], "one, two\nthree"),
        ({"input_tokens": 9, "output_tokens": 2}, "input_tokens 9, output_tokens 2"),
        ({"kind": "approval", "summary": "bash: ls -l", "ids": ["apr_1"]},
         "kind     approval\nsummary  bash: ls -l\nids      apr_1"),
        ({"project": [], "user": []}, "none"),
        ({"code": "x", "message": "boom\nstatus completed"},
         "code     x\nmessage  boom\n         status completed"),
        ([{"id": "a", "ok": False}, {"id": "bcd", "ok": True, "note": ""}], "id   ok\na    no\nbcd  yes"),
        ([{"id": "a", "text": "x" * 120}, {"id": "b", "of": {"n": 1}}],
         f"id    a\ntext  {'x' * 120}\n\nid  b\nof  n 1"),
    ],
)  # fmt: skip
def test_values_are_told_in_words(value, text: str) -> None:
    assert told("field", value) == text


def test_a_time_has_its_age_beside_it() -> None:
    assert told("created_at", "2020-01-01T00:00:00Z").startswith("2020-01-01T00:00:00Z  (")
    assert told("created_at", "soon") == "soon"
    assert told("said", "2020-01-01T00:00:00Z") == "2020-01-01T00:00:00Z"


@pytest.mark.parametrize("name", ["input", "metadata", "settings"])
def test_what_is_somebody_elses_stays_json_in_which_nothing_hides(name: str) -> None:
    assert told(name, {"command": "ls \u202e -l", "n": [1]}) == '{"command": "ls \\u202e -l", "n": [1]}'
    assert told("of", {name: {"a": "b c"}}) == f'{name}  {{"a": "b c"}}'


def test_nothing_unsafe_reaches_a_terminal() -> None:
    assert (
        told("error", {"message": "\x1b[31mred\x1b[0m \u202eno", "\x1bc": "x"})
        == "message  red no\n         x"
    )
