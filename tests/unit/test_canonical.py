"""Canonical JSON: the same text as an RFC 8785 library's, whichever way it was written."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from kheish_site.lib.canonical import canonical_json

EXACT = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=("Cs",)))
SCALAR = st.none() | st.booleans() | st.integers(-EXACT, EXACT) | TEXT
FLOAT = st.floats(-1e15, 1e15)
DOCUMENT = st.recursive(
    SCALAR | FLOAT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20
)


@given(DOCUMENT)
def test_it_is_what_the_library_writes(value: Any):
    assert canonical_json(value) == rfc8785.dumps(value).decode()


@given(DOCUMENT)
def test_it_says_the_same(value: Any):
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"\ue000": 1, "\U00010000": 2}, '{"\U00010000":2,"\ue000":1}'),
        ([1.0, 1e-7, 0.1], "[1,1e-7,0.1]"),
        ([2**53, 1e22, -(2**60)], '[{"$integer":"9007199254740992"},{"$integer":"10000000000000000000000"},'
         '{"$integer":"-1152921504606846976"}]'),
        ("\ud800 \x7f \x1f \n", '"? \x7f \\u001f \\n"'),
        ({1: "x", None: "y"}, '{"1":"x","None":"y"}'),
    ],
)  # fmt: skip
def test_corners(value: Any, text: str):
    assert canonical_json(value) == text


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([float("nan")], ValueError),
        ([float("inf")], ValueError),
        ([object()], TypeError),
        ({"a": {1}}, TypeError),
    ],
)
def test_what_is_no_json(value: Any, error: type[Exception]):
    with pytest.raises(error):
        canonical_json(value)
