"""One item that fails keeps none of the others, and a database that is away keeps all."""

import logging

import pytest
from django.db import OperationalError

from kheish_site.lib.in_turn import each


def test_one_that_fails_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def half(number: int) -> int:
        return 12 // number

    with caplog.at_level(logging.ERROR):
        assert each([0, 4, 6], half, action="halves") == 5
    (told,) = caplog.records
    assert (vars(told)["action"], vars(told)["item"]) == ("halves", "0")
    assert told.exc_info or told.exc_text


def test_a_database_that_is_away_is_away_for_all() -> None:
    seen: list[int] = []

    def refuse(number: int) -> int:
        seen.append(number)
        raise OperationalError("the server is starting up")

    with pytest.raises(OperationalError):
        each([1, 2, 3], refuse, action="halves")
    assert seen == [1]
