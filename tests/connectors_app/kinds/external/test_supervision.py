"""Child processes: started, found ready, started again, replaced, handed over, ended. Real ones."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models.functions import Now

from connectors_app.kinds.external import child
from connectors_app.kinds.external.supervision import Sidecars
from connectors_app.models import Connector, ConnectorLease, SidecarState, SidecarStatus
from connectors_app.services import connectors
from kheish_site.lib.transactions import write
from kheish_site.testing.ports import free_port
from sessions_app.models import TickLease, Worker
from sessions_app.services import secrets
from tests.connectors_app.kinds.external.rows import make_external
from tests.connectors_app.rows import TOKEN
from tests.support.service_process import alive, until
from tests.support.sidecar import TINY

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.embedded_only]
VALUE = "swordfish-4711-canary"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The waits of service are of seconds."""
    monkeypatch.setattr(child, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(child, "START_SECONDS", 5.0)
    monkeypatch.setattr(child, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(child, "LONGEST_BACKOFF_SECONDS", 0.2)
    settings.KHEISH = replace(settings.KHEISH, sweep_seconds=0.1)


class Crew:
    """Workers that keep sidecars, each with its row."""

    def __init__(self) -> None:
        self._parts: dict[str, Sidecars] = {}

    def start(self, name: str = "worker-1") -> Sidecars:
        with write():
            Worker.objects.create(
                name=name, host="h", pid=os.getpid(), slots=1, started_at=Now(), heartbeat_at=Now()
            )
        part = self._parts[name] = Sidecars()
        part.start(name)
        return part

    def stop(self, name: str) -> None:
        self._parts.pop(name).stop()
        Worker.objects.filter(name=name).delete()

    def end(self) -> None:
        for name in list(self._parts):
            self.stop(name)
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("sidecar")]
        assert not left


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew()
    yield made
    made.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def make_child(folder: Path, *modes: str, name: str = "mail", **block: Any) -> Connector:
    secrets.put("mail-password", provider="mail", value=VALUE)
    given = {
        "command": os.environ.get("PYTHON", "python3"),
        "args": ["-S", str(TINY), *modes],
        "env": {"TINY_FOLDER": str(folder)},
        "credential_slots": {"EMAIL_PASSWORD": "mail-password"},
        **block,
    }
    url = f"http://127.0.0.1:{free_port()}"
    return make_external(name, mode="child_process", base_url=url, child_process=given)


def state() -> SidecarState:
    found = SidecarState.objects.first()
    return found if found is not None else SidecarState()


def until_row(fits: Callable[[SidecarState], bool]) -> SidecarState:
    """Wait for the row to be as asked; return it as it was seen then."""
    return until(lambda: row if fits(row := state()) else None, 20, lambda: vars(state()))


def until_status(*statuses: str) -> SidecarState:
    return until_row(lambda row: row.status in statuses)


def until_running(folder: Path, *, after: int = 0, worker: str = "worker-1") -> SidecarState:
    """Wait for a child that is not ``after``, by its row and by what it wrote itself: the row alone may mean
    a stranger who answers on its port before it does."""
    return until_row(
        lambda row: (
            row.status == SidecarStatus.RUNNING
            and row.pid != after
            and row.worker == worker
            and (folder / f"{row.pid}.json").exists()
        )
    )


def until_gone(pid: int) -> None:
    """Wait for a process nobody waits for: the kernel delivers SIGKILL to a group when it comes to it."""
    until(lambda: not alive(pid), 10, lambda: f"{pid} lives on")


def told(folder: Path, pid: int) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / f"{pid}.json").read_text())
    return said


def test_a_child_is_started_and_told_what_it_needs(
    crew: Crew, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KHEISH_MASTER_KEY", VALUE)
    monkeypatch.setenv("PYTHONPATH", "/our/own/code")
    connector = make_child(folder, working_dir=str(folder))
    crew.start()
    row = until_running(folder)
    assert row.instance_id == f"tiny-{row.pid}"
    assert row.manifest["capabilities"]["attachments_out"] is False
    assert (row.worker, row.restarts, row.last_error) == ("worker-1", 0, "")
    said = told(folder, row.pid)
    environment = said["environment"]
    prefix = "KHEISH_EXTERNAL_CONNECTOR_"
    own = {name.removeprefix(prefix): value for name, value in environment.items() if name.startswith(prefix)}
    assert own.pop("CREDENTIAL_TOKEN").startswith("kh_lease_")
    assert own == {
        "NAME": "mail",
        "BASE_URL": connector.settings["base_url"],
        "DAEMON_BASE_URL": settings.KHEISH.service_url,
        "SHARED_TOKEN": TOKEN,
        "CREDENTIAL_KEYS_JSON": '["EMAIL_PASSWORD"]',
    }
    assert VALUE not in json.dumps(said)
    assert "PYTHONPATH" not in environment and "PATH" in environment
    assert {name for name in environment if name.startswith("KHEISH")} == {prefix + name for name in own} | {
        prefix + "CREDENTIAL_TOKEN"
    }
    assert said["streams"] == ["/dev/null"] * 3
    assert Path(said["folder"]).resolve() == folder.resolve()
    assert ConnectorLease.objects.get().revoked_at is None


def test_stopping_ends_child_and_lease_and_gives_the_right_back(crew: Crew, folder: Path) -> None:
    make_child(folder, "helper")
    crew.start()
    pid = until_running(folder).pid
    crew.stop("worker-1")
    assert not alive(pid)
    until_gone(told(folder, pid)["helper"])
    assert state().status == SidecarStatus.STOPPED
    assert ConnectorLease.objects.get().revoked_at is not None
    assert TickLease.objects.get().owner == ""


def test_a_child_that_does_not_listen_is_killed_with_its_group(crew: Crew, folder: Path) -> None:
    make_child(folder, "stubborn", "helper")
    crew.start()
    pid = until_running(folder).pid
    crew.stop("worker-1")
    assert not alive(pid)
    until_gone(told(folder, pid)["helper"])


def test_a_killed_child_is_started_again_with_a_new_lease(crew: Crew, folder: Path) -> None:
    make_child(folder)
    crew.start()
    first = until_running(folder).pid
    os.kill(first, signal.SIGKILL)
    row = until_running(folder, after=first)
    assert row.restarts == 1
    one, other = ConnectorLease.objects.order_by("pk")
    assert one.revoked_at is not None
    assert other.revoked_at is None


@pytest.mark.parametrize(
    ("modes", "block", "reason"),
    [
        (["dies"], {}, "exit code 3"),
        ([], {"command": "/nowhere/at-all"}, "could not be started"),
        ([], {"working_dir": "/nowhere/at-all"}, "could not be started"),
    ],
)
def test_a_child_that_never_gets_ready_is_tried_again_and_counts_as_failed(
    crew: Crew, folder: Path, modes: list[str], block: dict[str, Any], reason: str
) -> None:
    make_child(folder, *modes, **block)
    crew.start()
    row = until_status("failed")
    assert reason in row.last_error
    until_row(lambda row: row.restarts >= child.FAILED_AFTER)
    crew.stop("worker-1")
    assert ConnectorLease.objects.count() >= child.FAILED_AFTER
    assert not ConnectorLease.objects.filter(revoked_at=None).exists()


def test_a_child_that_is_never_ready_is_ended(
    crew: Crew, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "START_SECONDS", 1.0)
    make_child(folder, "late")
    crew.start()
    row = until_status("backoff", "failed")
    assert "not ready" in row.last_error
    assert "starting" in row.last_error
    crew.end()
    assert not any(alive(int(note.stem)) for note in folder.glob("*.json"))


def test_changed_is_restarted_unchanged_is_untouched_removed_is_stopped(crew: Crew, folder: Path) -> None:
    connector = make_child(folder)
    crew.start()
    first = until_running(folder).pid
    make_external("elsewhere")  # somebody else's change
    connectors.set_paused("external", "mail", True, principal="alice")
    second = until_running(folder, after=first).pid
    assert not alive(first)
    secrets.put("connectors.external.mail.shared_token", provider="external", value="rotated-token-4711")
    third = until_running(folder, after=second).pid
    assert (
        told(folder, third)["environment"]["KHEISH_EXTERNAL_CONNECTOR_SHARED_TOKEN"] == "rotated-token-4711"
    )
    connectors.set_enabled("external", "mail", False)
    until_status("stopped")
    assert not alive(third)
    connectors.set_enabled("external", "mail", True)
    until_running(folder)
    connectors.delete("external", connector.name)
    until_status("stopped")


def test_one_process_a_connector_and_another_worker_takes_over(crew: Crew, folder: Path) -> None:
    make_child(folder)
    crew.start("worker-1")
    first = until_running(folder)
    crew.start("worker-2")
    assert len(list(folder.glob("*.json"))) == 1
    crew.stop("worker-1")
    until_running(folder, after=first.pid, worker="worker-2")
    assert len(list(folder.glob("*.json"))) == 2


def test_what_a_buried_worker_held_is_free(crew: Crew, folder: Path) -> None:
    connector = make_child(folder)
    TickLease.objects.create(name=f"sidecar:{connector.pk}", owner="dead", expires_at="2100-01-01T00:00:00Z")
    crew.start()
    until_running(folder)


def test_a_lost_right_ends_the_process(crew: Crew, folder: Path, settings: Any) -> None:
    connector = make_child(folder)
    settings.KHEISH = replace(settings.KHEISH, lease_seconds=1.0)
    crew.start()
    pid = until_running(folder).pid
    with write():
        Worker.objects.create(name="thief", host="h", pid=1, slots=1, started_at=Now(), heartbeat_at=Now())
        TickLease.objects.filter(name=f"sidecar:{connector.pk}").update(
            owner="thief", expires_at="2100-01-01T00:00:00Z"
        )
    until_gone(pid)


def test_a_revoked_lease_ends_the_process_at_its_next_renewal(
    crew: Crew, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors_app.kinds.external.leases.RENEW_SECONDS", 0.1)
    make_child(folder)
    crew.start()
    first = until_running(folder).pid
    ConnectorLease.objects.update(revoked_at=Now())
    row = until_row(lambda row: row.restarts == 1)
    assert not alive(first)
    assert "lease was revoked" in row.last_error


def test_a_command_that_cannot_be_executed_is_told(crew: Crew, folder: Path) -> None:
    (folder / "data").write_text("no program")
    make_child(folder, command=str(folder / "data"))
    crew.start()
    assert until_row(lambda row: row.restarts > 0).last_error == "the command could not be started"


def test_a_command_that_is_not_there_is_told(crew: Crew, folder: Path) -> None:
    make_child(folder, command="/no/such/command")
    crew.start()
    assert until_row(lambda row: row.restarts > 0).last_error == "the command could not be started"
