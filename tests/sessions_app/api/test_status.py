"""/v1/status and /v1/capabilities."""

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings

from kheish_site.lib import clock
from sessions_app.models import Run, RunStatus, Worker
from sessions_app.services import status
from tests.factories import make_client, make_route, make_run, make_session

pytestmark = pytest.mark.django_db


def make_worker(age: timedelta = timedelta(0), **more) -> Worker:
    moment = clock.now() - age
    return Worker.objects.create(
        name=f"worker-{Worker.objects.count()}", host="here", pid=1, pid_started="1", slots=4,
        started_at=moment, heartbeat_at=moment, **more,
    )  # fmt: skip


def warnings() -> list[str]:
    health = make_client("viewer").get("/v1/status").json()["health"]
    assert health["ok"] is (not health["warnings"])
    return [warning["code"] for warning in health["warnings"]]


def test_a_ready_service_with_a_worker_and_a_route_has_no_warning():
    make_route()
    make_worker()
    make_run(make_session())
    view = make_client("viewer").get("/v1/status").json()
    assert (view["status"], view["ready"], view["health"]["ok"]) == ("ready", True, True)
    assert view["runs"]["queued"] == 1
    assert "completed" not in view["runs"]
    assert view["workers"][0]["alive"] is True


def test_no_worker_that_takes_work_is_a_warning():
    make_route()
    assert warnings() == ["no_worker"]
    make_worker(timedelta(hours=1))
    make_worker(draining=True)
    assert warnings() == ["no_worker"]


def test_no_route_is_a_warning():
    make_worker()
    assert warnings() == ["provider_active_route_not_ready"]


def test_due_runs_that_nobody_takes_and_runs_that_stand_still():
    make_route()
    make_worker()
    old = clock.now() - timedelta(hours=1)
    make_run(make_session("a"))
    make_run(make_session("b"))
    Run.objects.update(submitted_at=old, updated_at=old)
    assert warnings() == ["queued_run_lag"]
    Run.objects.filter(session__session_id="a").update(status=RunStatus.RUNNING)
    assert warnings() == ["queued_run_lag", "stale_non_terminal_runs"]


def test_a_disk_that_fills_is_a_warning(monkeypatch, settings, tmp_path):
    make_route()
    make_worker()
    least = shutil.disk_usage(settings.KHEISH.state_dir).free
    monkeypatch.setattr(status, "LEAST_FREE_BYTES", 0)
    assert warnings() == []
    monkeypatch.setattr(status, "LEAST_FREE_BYTES", 2 * least)
    assert warnings() == ["disk_nearly_full"]
    settings.KHEISH = replace(settings.KHEISH, state_dir=tmp_path / "gone")
    assert warnings() == ["state_dir_unreadable"]


def test_a_draining_service_is_not_ready():
    mark = settings.KHEISH.state_dir / "draining"
    mark.touch()
    try:
        view = make_client().get("/v1/status").json()
    finally:
        mark.unlink()
    assert (view["status"], view["ready"]) == ("draining", False)


def test_capabilities():
    view = make_client("viewer").get("/v1/capabilities").json()
    assert (view["api_revision"], view["approvals"], view["mailboxes"]) == (3, True, False)


def test_not_ready_is_a_problem_document(client):
    mark = settings.KHEISH.state_dir / "draining"
    mark.touch()
    try:
        answer = client.get("/readyz")
    finally:
        mark.unlink()
    assert (answer.status_code, answer.json()["code"]) == (503, "readiness/daemon_draining")


def test_a_process_whose_clock_is_wrong_reads_heartbeats_by_the_databases(monkeypatch):
    make_route()
    make_worker()
    for wrong in (clock.now() + timedelta(hours=1), clock.now() - timedelta(hours=1)):
        monkeypatch.setattr(clock, "now", lambda wrong=wrong: wrong)
        assert status.status()["workers"][0]["alive"] is True
    Worker.objects.update(heartbeat_at=wrong)
    assert status.status()["workers"][0]["alive"] is False
