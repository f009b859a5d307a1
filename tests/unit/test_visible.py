"""A person who decides sees every character of a call."""

import json
import sys
import unicodedata

import pytest

from kheish_site.lib.visible import visible


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b\u200c\u200d\u200e\u200f",
        "\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
        "".join(map(chr, range(0x2060, 0x2070))),
        "\ufeff\u00ad\u034f\u061c\u115f\u3164\uffa0\u2800\ufe0f\U000e0100",
        "\U000e0001\U000e0041\U000e007f",
        "\x00\x1b\r\x7f\x9b",
        "\ue000\U0010fffd\u0378\ud800",
    ],
)
def test_what_cannot_be_seen_is_written_out(hidden) -> None:
    shown = visible(f"a{hidden}b")
    assert shown.isascii() and shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{hidden}b"


def test_nothing_of_a_hidden_category_stays() -> None:
    shown = set(visible("".join(map(chr, range(sys.maxunicode + 1)))))
    left = {unicodedata.category(character) for character in shown - {"\n", "\t"}}
    assert left.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@pytest.mark.parametrize("plain", ["a\n\tb", "é 日本 نص e\u0301", "\\u200b", "🙂"])
def test_what_can_be_seen_stays(plain) -> None:
    assert visible(plain) == plain
