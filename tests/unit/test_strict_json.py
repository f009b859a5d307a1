"""The JSON reader: one meaning, or a reason."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kheish_site.lib.strict_json import DEEPEST, InvalidJson, loads, text_problem

REFUSED = {
    "nothing": b"",
    "half": b'{"a":',
    "two values": b"1 2",
    "not UTF-8": b'"\xff"',
    "NaN": b'{"a": NaN}',
    "infinity": b"[-Infinity]",
    "float out of range": b"[1e999]",
    "integer out of range": str(2**63).encode(),
    "huge integer": b"9" * 5000,
    "member twice": b'{"a": 1, "a": 2}',
    "NUL in a text": b'["a\\u0000"]',
    "NUL in a name": b'{"a\\u0000": 1}',
    "raw NUL": b'["\x00"]',
    "lone surrogate": b'["\\ud800"]',
    "lone surrogate in a name": b'{"\\udfff": 1}',
    "too deep": b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2),
    "depth bomb": b"[" * 200_000,
    "depth bomb of objects": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_refuses(raw):
    with pytest.raises(InvalidJson) as caught:
        loads(raw)
    assert caught.value.detail


def test_depth_at_the_limit_is_read():
    raw = b"[" * DEEPEST + b"]" * DEEPEST
    assert loads(raw) == json.loads(raw)


def test_a_surrogate_pair_is_one_character():
    assert loads(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
LEAVES = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | TEXT
VALUES = st.recursive(
    LEAVES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(VALUES)
def test_reads_what_json_writes(value):
    assert loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_never_fails_otherwise(raw):
    with contextlib.suppress(InvalidJson):
        loads(raw)


def test_text_problem_names_the_reason():
    assert text_problem("plain") == ""
    assert "NUL" in text_problem("\x00")
    assert "surrogate" in text_problem("\udc00")
