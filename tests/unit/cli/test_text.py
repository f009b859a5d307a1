"""Nothing a stranger wrote may steer the terminal."""

import io

import pytest

from kheish_site.cli.fields import pretty
from kheish_site.cli.output import Output, fit
from kheish_site.cli.text import age, clean, one_line, parse_time, shorten, span, width


@pytest.mark.parametrize(
    ("evil", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x9b2Jb", "ab"),
        ("\x1bcreset", "reset"),
        ("over\rwrite", "overwrite"),
        ("bell\x07 back\x08", "bell back"),
        ("\u202egnp.exe", "gnp.exe"),
        ("keep\ttab\nline", "keep\ttab\nline"),
        ("\ud800lone", "lone"),
        ("\x1bP1$r\x1b\\dcs", "dcs"),
    ],
)
def test_control_characters_are_removed(evil, safe) -> None:
    assert clean(evil) == safe


def test_a_cell_is_one_line() -> None:
    assert one_line(" a\n\tb  c ") == "a b c"


def test_json_for_a_decision_shows_what_is_hidden() -> None:
    assert pretty({"command": "rm\x1b[8m -rf\u202e é"}) == '{"command": "rm\\u001b[8m -rf\\u202e é"}'


def test_json_for_a_decision_shows_what_has_no_width() -> None:
    assert pretty({"command": "rm\u200b -rf\U000e0041"}) == '{"command": "rm\\u200b -rf\\udb40\\udc41"}'


def test_wide_characters_count_twice() -> None:
    assert (width("日本"), shorten("日本語", 5), shorten("abc", 3)) == (4, "日本…", "abc")


def test_ages_are_human() -> None:
    now = parse_time("2026-01-01T12:00:00Z")
    assert age("2026-01-01T11:58:30Z", now=now) == "90 s ago"
    assert age("2026-01-01T14:30:00Z", now=now) == "in 2 h"
    assert age("soon", now=now) == "soon"
    assert span(300_000) == "3 d"


def test_a_row_fits_the_terminal() -> None:
    assert sum(fit([10, 200, 10], 80)) + 4 == 80
    assert fit([9, 9], 4) == [8, 8]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colour_obeys_the_person(environ, coloured) -> None:
    stream = Terminal()
    Output(stdout=stream, stderr=stream, environ=environ).line("x", "red")
    assert ("\x1b[31m" in stream.getvalue()) is coloured


def test_no_colour_without_a_terminal() -> None:
    stream = io.StringIO()
    Output(stdout=stream, stderr=stream, environ={}).line("x", "red")
    assert stream.getvalue() == "x\n"
