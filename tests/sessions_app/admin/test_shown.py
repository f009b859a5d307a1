"""How values look: a status is word, icon and colour; times are relative with the exact one beside them."""

from datetime import timedelta

import pytest

from connectors_app.models import DeliveryStatus
from kheish_site.lib import clock
from sessions_app.admin import show
from sessions_app.models import (
    WAITING,
    ApprovalStatus,
    DecisionStatus,
    RunStatus,
    StepStatus,
    TaskStatus,
    ToolCallState,
)
from sessions_app.models.waiting import QuestionStatus

STATUSES = sorted(
    {
        *(status.value for status in RunStatus),
        *(status.value for status in ApprovalStatus),
        *(status.value for status in QuestionStatus),
        *(status.value for status in DecisionStatus),
        *(status.value for status in StepStatus),
        *(status.value for status in TaskStatus),
        *(status.value for status in ToolCallState),
        *(status.value for status in DeliveryStatus),
    }
)
FAILURES = {"failed", "dead_lettered"}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_a_word_an_icon_and_a_colour_and_only_failures_are_red(status: str) -> None:
    drawn = show.badge(status)
    words = drawn.rpartition("</svg>")[2].removesuffix("</span>")
    assert words.strip() and "_" not in words
    assert '<svg class="kh-icon" aria-hidden="true">' in drawn
    assert ("kh-badge kh-bad" in drawn) is (status in FAILURES)


@pytest.mark.parametrize("status", sorted({*WAITING, "pending", "awaiting_approval", "unknown"}))
def test_waiting_is_amber(status: str) -> None:
    assert "kh-badge kh-wait" in show.badge(status)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "3 s ago"), (200, "3 min ago"), (7_300, "2 h ago"), (200_000, "2 d ago"), (-500, "in 8 min")],
)
def test_a_time_is_relative_with_the_exact_one_on_pointing(seconds: int, words: str) -> None:
    now = clock.now()
    moment = now - timedelta(seconds=seconds)
    drawn = show.age(moment, now=now)
    assert f">{words}</time>" in drawn and f'title="{clock.rfc3339(moment)}"' in drawn


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0123, "12 ms"), (2.34, "2.3 s"), (95, "1 min 35 s"), (7_500, "2 h 5 min")]
)
def test_durations_are_in_units_that_people_use(seconds: float, words: str) -> None:
    assert show.took(seconds) == words
