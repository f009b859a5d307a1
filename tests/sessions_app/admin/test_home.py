"""The first page: what needs a person, and what to do when nothing is there yet."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from kheish_site.lib import clock
from sessions_app.admin import addresses
from sessions_app.models import Session, Worker
from tests.factories import make_session
from tests.sessions_app.admin.conftest import (
    Desk,
    drive,
    waiting_approval,
    waiting_decision,
    waiting_question,
)

pytestmark = pytest.mark.django_db(transaction=True)


def home(desk: Desk, group: str = "viewer") -> str:
    return desk(group).get(reverse("admin:index")).content.decode()


def make_worker(name: str, seconds_silent: float) -> Worker:
    seen = clock.now() - timedelta(seconds=seconds_silent)
    return Worker.objects.create(
        name=name, host="here", pid=1, pid_started="1", slots=4, started_at=seen, heartbeat_at=seen
    )


def test_the_first_day_says_what_to_do(desk: Desk) -> None:
    page = home(desk)
    assert "Nothing waits for a person" in page
    assert "sessions input demo" in page
    assert "No worker is alive" in page


def test_everything_that_needs_a_person_is_there(desk: Desk) -> None:
    approval, question, decision = waiting_approval(), waiting_question(), waiting_decision()
    failed = drive({"text": "", "fault": {"kind": "invalid"}}, session_id="bad")
    page = home(desk)
    for key in (approval.approval_id, question.question_id, decision.decision_id):
        assert reverse("admin:console_inbox_item", args=[key]) in page
    assert addresses.of(failed) in page
    assert "1 to approve, 1 to answer, 1 to decide; the oldest for " in page
    assert "<title>(3) " in page


def test_workers_are_judged_by_their_heartbeat(desk: Desk) -> None:
    make_worker("fresh", 1), make_worker("silent", 3600)
    page = home(desk)
    assert "0 of 4 busy" in page
    assert "stale" in page and "No worker is alive" not in page


def test_a_page_whose_clock_is_wrong_judges_by_the_databases(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, session = make_worker("fresh", 1), make_session()
    Session.objects.update(lease_owner="fresh", lease_expires_at=clock.now() + timedelta(minutes=1))
    ahead = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: ahead)
    viewer = desk("viewer")
    page = viewer.get(reverse("admin:index")).content.decode()
    assert "No worker is alive" not in page and "stale" not in page
    assert "stale" not in viewer.get(addresses.of(row)).content.decode()
    assert "1 h ago" not in viewer.get(reverse("admin:sessions_app_worker_changelist")).content.decode()
    listed = viewer.get(reverse("admin:sessions_app_session_changelist")).content.decode()
    assert "fresh" in listed and 'data-state="stale"' not in listed
    assert "fresh, now" in viewer.get(addresses.of(session)).content.decode()


def test_stale_leases_are_said(desk: Desk) -> None:
    make_session()
    Session.objects.update(lease_owner="gone", lease_expires_at=clock.now() - timedelta(seconds=1))
    page = home(desk)
    assert "1 stale lease" in page
    assert "session/?state=stale" in page


def test_a_day_is_drawn_by_the_hour(desk: Desk) -> None:
    drive({"text": "fine"}, session_id="good")
    drive({"text": "", "fault": {"kind": "invalid"}}, session_id="bad")
    page = home(desk)
    assert 'aria-label="2 runs, 1 of them failed"' in page
    assert "of 2 started" in page


def test_the_ribbon_names_the_environment(desk: Desk, settings: Any) -> None:
    assert "kh-ribbon" not in home(desk)
    settings.KHEISH = replace(settings.KHEISH, environment="staging")
    assert '<span class="kh-ribbon">staging</span>' in home(desk, "operator")


@pytest.mark.parametrize("group", ["viewer", "operator", "admin"])
def test_the_first_page_is_light(desk: Desk, group: str) -> None:
    waiting_approval(), waiting_question()
    assert len(home(desk, group)) < 60_000


def test_health_says_what_is_wrong_and_what_to_do(desk: Desk) -> None:
    client = desk("viewer")
    page = client.get(reverse("admin:console_health")).content.decode()
    assert "No worker is alive" in page and "Start a worker process" in page
    make_worker("fresh", 1)
    page = client.get(reverse("admin:console_health")).content.decode()
    assert "No worker is alive" not in page and "0 of 4 busy" in page
    assert desk("").get(reverse("admin:console_health")).status_code == 403
