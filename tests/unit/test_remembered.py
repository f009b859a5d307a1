"""Answers that are remembered for a while."""

from itertools import count

import pytest

from kheish_site.lib.remembered import Remembered


def test_an_answer_is_read_once_until_its_time_is_over() -> None:
    numbers = count(1)
    found = Remembered(lambda: next(numbers), seconds=3600)
    assert (found(), found()) == (1, 1)
    found.forget()
    assert (found(), found()) == (2, 2)
    fleeting = Remembered(lambda: next(numbers), seconds=0)
    assert (fleeting(), fleeting()) == (3, 4)


def test_an_error_is_not_remembered() -> None:
    answers = iter([0, 1])
    found = Remembered(lambda: 1 // next(answers), seconds=3600)
    with pytest.raises(ZeroDivisionError):
        found()
    assert found() == 1
