"""The first page: what needs a person, and what to do when nothing is there yet."""

from datetime import timedelta

import pytest
from django.urls import reverse

from kheish_site.lib import clock
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
    for row in (approval, question, decision, failed):
        assert reverse(f"admin:sessions_app_{row._meta.model_name}_change", args=[row.pk]) in page
    assert "1 to approve, 1 to answer, 1 to decide" in page
    assert "<title>(3) " in page


def test_workers_are_judged_by_their_heartbeat(desk: Desk) -> None:
    make_worker("fresh", 1), make_worker("silent", 3600)
    page = home(desk)
    assert "4 runs at once" in page
    assert "stale" in page


def test_stale_leases_are_said(desk: Desk) -> None:
    make_session()
    Session.objects.update(lease_owner="gone", lease_expires_at=clock.now() - timedelta(seconds=1))
    page = home(desk)
    assert "1 stale lease" in page
    assert "session/?state=stale" in page
