"""A verb on all rows of a filtered list: counted first, done in batches, the same when it is sent twice."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.core import signing
from django.test import Client
from django.urls import reverse

from sessions_app.admin import courses, verb_pages
from sessions_app.models import Approval, Route, Run, RunStatus
from tests.factories import make_route, make_run, make_session
from tests.sessions_app.admin.conftest import Desk, waiting_approval

pytestmark = pytest.mark.django_db(transaction=True)
QUEUED = f"{reverse('admin:sessions_app_run_changelist')}?status__exact=queued"
PAGE_LIMIT, BATCH = 3, 4
"""Rows that are shown whole, and rows of one batch, small enough to have many batches of few rows."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb_pages, "MOST_ROWS", PAGE_LIMIT)
    monkeypatch.setattr(courses, "BATCH", BATCH)


def queued(number: int, session_id: str = "many") -> list[Run]:
    if not Route.objects.exists():
        make_route()
    session = make_session(session_id)
    return [make_run(session) for _ in range(number)]


def all_that_match(row: Any, verb: str = "cancel") -> dict[str, Any]:
    """What the list sends when all rows that match are chosen, not only those of the page."""
    return {"action": verb, "select_across": "1", "_selected_action": [row.pk]}


def preview(client: Client, row: Run, url: str = QUEUED) -> Any:
    return client.post(url, {**all_that_match(row), "index": "0"})


def send(client: Client, row: Run, page: Any, url: str = QUEUED, **fields: str) -> Any:
    """Confirm a page, or let it go on."""
    told = {"confirmed": "yes", "reason": "", "course": page.context["course"].token(), **fields}
    return client.post(url, {**all_that_match(row), **told})


def said(answer: Any) -> str:
    return " | ".join(str(message) for message in get_messages(answer.wsgi_request))


def statuses() -> dict[str, int]:
    found = list(Run.objects.values_list("status", flat=True))
    return {status: found.count(status) for status in set(found)}


def test_it_is_counted_before_anything_is_done(desk: Desk) -> None:
    rows = queued(9)
    Run.objects.filter(pk=rows[0].pk).update(status=RunStatus.COMPLETED)
    everything = reverse("admin:sessions_app_run_changelist")
    page = preview(desk("operator"), rows[1], everything)
    assert "9 match, 8 of them can be cancelled now." in page.content.decode()
    assert statuses() == {"queued": 8, "completed": 1}


def test_it_goes_in_batches_and_says_what_came_of_all(desk: Desk) -> None:
    rows, client = queued(9), desk("operator")
    page = preview(client, rows[0])
    first = send(client, rows[0], page, reason="storm")
    assert "4 of 9 done." in first.content.decode() and "4 cancelled" in first.content.decode()
    assert 'name="reason" value="storm"' in first.content.decode()
    second = send(client, rows[0], first, reason="storm")
    assert statuses() == {"cancelled": 8, "queued": 1}
    last = send(client, rows[0], second, reason="storm")
    assert (last.status_code, last["Location"]) == (302, QUEUED)
    assert said(last) == "9 cancelled" and statuses() == {"cancelled": 9}


def test_without_scripts_it_goes_on_by_a_button(desk: Desk) -> None:
    rows, client = queued(9), desk("operator")
    page = send(client, rows[0], preview(client, rows[0])).content.decode()
    assert "<form" in page and "Go on</button>" in page and "Stop here" in page


def test_what_is_not_in_a_state_for_it_stays_and_is_counted(desk: Desk) -> None:
    rows, client = queued(5), desk("operator")
    url = reverse("admin:sessions_app_run_changelist")
    page = preview(client, rows[0], url)
    Run.objects.filter(pk__in=[rows[3].pk, rows[4].pk]).update(status=RunStatus.COMPLETED)
    first = send(client, rows[0], page, url)
    last = send(client, rows[0], first, url)
    assert said(last) == "3 cancelled, 2 refused: not in a state for it"


def test_a_batch_that_is_sent_twice_changes_nothing_more(desk: Desk) -> None:
    rows, client = queued(9), desk("operator")
    url = reverse("admin:sessions_app_run_changelist")
    page = preview(client, rows[0], url)
    send(client, rows[0], page, url)
    again = send(client, rows[0], page, url)
    assert "4 refused: not in a state for it" in again.content.decode()
    assert statuses() == {"cancelled": 4, "queued": 5}
    entries = [run.session.next_seq for run in Run.objects.select_related("session")]
    send(client, rows[0], page, url)
    assert [run.session.next_seq for run in Run.objects.select_related("session")] == entries


def test_rows_that_came_after_the_preview_stay_as_they_are(desk: Desk) -> None:
    rows, client = queued(5), desk("operator")
    page = preview(client, rows[0])
    late = queued(1, "late")[0]
    send(client, rows[0], send(client, rows[0], page))
    late.refresh_from_db()
    assert late.status == "queued" and statuses() == {"cancelled": 5, "queued": 1}


def test_only_what_matches_the_filter_is_touched(desk: Desk) -> None:
    rows, client = queued(5), desk("operator")
    other = queued(1, "other")[0]
    url = f"{QUEUED}&q=many"
    send(client, rows[0], send(client, rows[0], preview(client, rows[0], url), url), url)
    other.refresh_from_db()
    assert other.status == "queued"


@pytest.mark.parametrize(
    "forged",
    ["nonsense", signing.dumps({"of": "sessions_app.run.cancel"}, salt="another")],
    ids=["nonsense", "signed for something else"],
)
def test_a_course_that_is_not_ours_does_nothing(desk: Desk, forged: str) -> None:
    rows, client = queued(5), desk("operator")
    answer = client.post(QUEUED, {**all_that_match(rows[0]), "confirmed": "yes", "course": forged})
    assert "nothing was done" in said(answer) and statuses() == {"queued": 5}


def test_a_course_of_another_verb_does_nothing(desk: Desk) -> None:
    rows, client = queued(5), desk("admin")
    token = preview(client, rows[0]).context["course"].token()
    url = reverse("admin:sessions_app_session_changelist")
    told = {**all_that_match(rows[0].session, "end"), "confirmed": "yes", "course": token}
    assert "nothing was done" in said(client.post(url, told))
    rows[0].session.refresh_from_db()
    assert rows[0].session.ended_at is None


def test_a_course_takes_no_more_than_the_newest_so_many(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courses, "MOST", 4)
    rows, client = queued(6), desk("operator")
    page = preview(client, rows[0])
    assert "These are the newest 4" in page.content.decode()
    send(client, rows[0], page)
    left = Run.objects.filter(status="queued").values_list("pk", flat=True)
    assert set(left) == {rows[0].pk, rows[1].pk}


def test_a_batch_ends_when_its_time_is_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courses, "BATCH_SECONDS", -1.0)
    rows, client = queued(5), desk("operator")
    page = send(client, rows[0], preview(client, rows[0]))
    assert "1 of 5 done." in page.content.decode()


def test_what_must_be_looked_at_is_never_decided_unseen(desk: Desk) -> None:
    rows = [waiting_approval(f"s-{number}") for number in range(PAGE_LIMIT + 1)]
    url = reverse("admin:sessions_app_approval_changelist")
    answer = desk("operator").post(url, {**all_that_match(rows[0], "allow"), "index": "0"})
    assert "Each must be looked at" in said(answer)
    assert set(Approval.objects.values_list("status", flat=True)) == {"pending"}


def test_a_viewer_has_no_verb_for_all(desk: Desk) -> None:
    rows = queued(5)
    preview(desk("viewer"), rows[0])
    assert statuses() == {"queued": 5}


def test_a_list_offers_all_that_match_without_scripts_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site.get_model_admin(Run), "list_per_page", 3)
    queued(5)
    page = desk("operator").get(QUEUED).content.decode()
    assert "<noscript>" in page and "All 5 that match" in page
