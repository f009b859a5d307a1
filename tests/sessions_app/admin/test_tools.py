"""The page of tools: what people decided about each, and the rules that are in force."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from kheish_site.lib import clock
from sessions_app.models import Approval, ApprovalStatus
from sessions_app.services import approval_habits
from sessions_app.services.approval_habits import Habit
from tests.sessions_app.admin.conftest import Desk
from tests.sessions_app.api.rows import ask_approvals, make_route, make_session

pytestmark = pytest.mark.django_db(transaction=True)
TOOLS = "/admin/tools/"


def settled(
    status: str, *, tool: str = "bash", seconds: float = 10, edited: bool = False, days: float = 1, n: int = 1
) -> None:
    """So many approvals of a tool that were asked some days ago and ended so."""
    make_route()
    number = Approval.objects.count()
    _, rows = ask_approvals(make_session(f"asked-{number}"), n)
    asked = clock.now() - timedelta(days=days)
    over = None if status == ApprovalStatus.PENDING else asked + timedelta(seconds=seconds)
    Approval.objects.filter(pk__in=[row.pk for row in rows]).update(
        tool_name=tool, status=status, created_at=asked, decided_at=over, decision={"edited": edited}
    )


def habit(tool: str) -> Habit:
    return next(one for one in approval_habits.habits() if one.tool_name == tool)


def test_a_habit_counts_what_came_of_each_and_how_long_people_took() -> None:
    settled("allowed", seconds=4, n=2)
    settled("allowed", seconds=30, edited=True)
    settled("denied", seconds=100)
    settled("expired", seconds=9_000)
    settled("cancelled", seconds=9_000)
    settled("pending")
    found = habit("bash")
    assert (found.asked, found.allowed, found.edited, found.denied) == (7, 3, 1, 1)
    assert (found.expired, found.cancelled, found.open) == (1, 1, 1)
    assert found.median_seconds == 17  # of 4, 4, 30 and 100: nobody decided the others


def test_what_is_older_is_no_habit_any_more() -> None:
    settled("allowed", days=approval_habits.DAYS + 1)
    assert approval_habits.habits() == []


@pytest.mark.parametrize(
    ("number", "last", "said"),
    [(approval_habits.OFTEN - 1, None, False), (approval_habits.OFTEN, None, True), (20, "denied", False)],
)
def test_a_yes_that_is_always_given_is_pointed_out(
    desk: Desk, number: int, last: str | None, said: bool
) -> None:
    settled("allowed", n=number)
    if last:
        settled(last)
    page = desk("viewer").get(TOOLS).content.decode()
    assert ("lower its risk" in page) is said


def test_the_page_shows_the_habits_and_every_tool_with_its_rule(desk: Desk) -> None:
    settled("allowed", tool="web_fetch", seconds=90)
    settled("pending", tool="mcp__gone__tool")
    page = desk("viewer").get(TOOLS).content.decode()
    assert "tool_name__exact=web_fetch" in page and "1 min 30 s" in page
    assert "mcp__gone__tool" in page  # it may be no tool any more
    assert "runs a shell command" in page and "write_file" in page


def test_it_says_what_comes_here_when_nothing_did(desk: Desk) -> None:
    assert "No call was asked about" in desk("viewer").get(TOOLS).content.decode()
    assert desk("").get(TOOLS).status_code == 403


def test_it_costs_the_same_for_one_tool_and_for_many(desk: Desk) -> None:
    client = desk("viewer")

    def cost() -> int:
        client.get(TOOLS)
        with CaptureQueriesContext(connection) as captured:
            client.get(TOOLS)
        return len(captured)

    settled("allowed")
    before = cost()
    for number in range(5):
        settled("denied", tool=f"tool-{number}")
    assert cost() == before <= 15
