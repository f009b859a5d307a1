"""Named rights: the time that counts is the database's, not that of a process."""

from datetime import timedelta

import pytest

from kheish_site.lib import clock
from sessions_app.models import TickLease
from sessions_app.services import ticks

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "poll"


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_wrong_clock_takes_nothing_from_others(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    right = clock.now
    assert ticks.take(NAME, "one", seconds=60)
    monkeypatch.setattr(clock, "now", lambda: right() + timedelta(hours=hours))
    assert not ticks.take(NAME, "two", seconds=60)
    assert ticks.take(NAME, "one", seconds=60)
    expires_at = TickLease.objects.get().expires_at
    assert expires_at is not None and abs(expires_at - right()) < timedelta(minutes=2)


def test_a_right_runs_out_or_is_given_back() -> None:
    assert ticks.take(NAME, "one", seconds=-1) and ticks.take(NAME, "two", seconds=60)
    ticks.give_back(NAME, "one")
    assert not ticks.take(NAME, "one", seconds=60)
    ticks.give_back(NAME, "two")
    assert ticks.take(NAME, "one", seconds=60)
