"""Limits and cursors before any row is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kheish_site.lib.errors import BadRequest
from sessions_app.api.pagination import read_cursor, read_limit, write_cursor
from sessions_app.models import Persona

NUMBER = Persona._meta.get_field("id")
NAME = Persona._meta.get_field("persona_id")


@pytest.mark.parametrize(("text", "limit"), [(None, 50), ("1", 1), ("100", 100), ("99999", 100)])
def test_limit(text, limit):
    assert read_limit(text) == limit


@pytest.mark.parametrize("text", ["0", "-1", "", "ten", "1.5", "٣", "1e2", " 1", "9" * 30])
def test_bad_limit(text):
    with pytest.raises(BadRequest) as caught:
        read_limit(text)
    assert caught.value.error_code == "invalid_limit"


@given(st.integers(0, 2**63 - 1))
def test_number_cursor_comes_back(value):
    assert read_cursor(write_cursor("run.id", value), "run.id", NUMBER) == value


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=100))
def test_name_cursor_comes_back(value):
    assert read_cursor(write_cursor("run.id", value), "run.id", NAME) == value


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "!",
        "é",
        "AAA",
        "dHJ1ZQ",
        "MTcw",
        "WzEsMiwzXQ",
        "W10",
        write_cursor("run.id", "name"),
        write_cursor("run.id", -1),
        write_cursor("session.id", 7),
    ],
)
def test_bad_cursor_of_a_numbered_list(cursor):
    with pytest.raises(BadRequest) as caught:
        read_cursor(cursor, "run.id", NUMBER)
    assert caught.value.error_code == "invalid_cursor"


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_refused(text):
    for column in (NUMBER, NAME):
        try:
            read_cursor(text, "run.id", column)
        except BadRequest as error:
            assert error.error_code == "invalid_cursor"
