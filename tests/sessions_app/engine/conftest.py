"""A whole runtime in one process: scripted route, real rows, the engine called by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessions_app.models import Approval, JournalEntry, Route, Run, Session
from sessions_app.services import runs, sessions
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.principal import Principal
from sessions_app.services.sessions import NewSession

ALICE = Principal(
    name="alice",
    role="operator",
    auth_method="token",
    remote_addr="127.0.0.1",
    rights=frozenset({"decide_high_risk"}),
)
BOB = Principal(name="bob", role="admin", auth_method="session", remote_addr="127.0.0.1")


@pytest.fixture(autouse=True)
def workspaces(tmp_path: Path, settings: Any) -> None:
    from dataclasses import replace

    settings.KHEISH = replace(settings.KHEISH, workspace_root=tmp_path / "workspaces")


@pytest.fixture
def heartbeat() -> Heartbeat:
    return Heartbeat("worker-1")


@pytest.fixture
def script() -> Callable[..., Route]:
    """Make the default route play these turns."""

    def make(
        *turns: dict[str, Any], route_id: str = "scripted", default: bool = True, **options: Any
    ) -> Route:
        route, _ = Route.objects.update_or_create(
            route_id=route_id,
            defaults={
                "driver": "scripted",
                "model": "script",
                "is_default": default,
                "options": {"script": {"turns": list(turns)}, **options},
            },
        )
        return route

    return make


@pytest.fixture
def session() -> Session:
    made, _ = sessions.create(NewSession(session_id="desk"), principal="alice")
    return made


def submit(session: Session, text: str = "go", **more: Any) -> Run:
    return runs.submit(session.session_id, runs.NewRun(content=text, **more), principal="alice")


def kinds(run: Run) -> list[str]:
    return list(JournalEntry.objects.filter(run_id=run.pk).order_by("seq").values_list("kind", flat=True))


def payloads(run: Run, kind: str) -> list[dict[str, Any]]:
    rows = JournalEntry.objects.filter(run_id=run.pk, kind=kind).order_by("seq")
    return list(rows.values_list("payload", flat=True))


def pending(run: Run) -> list[Approval]:
    return list(Approval.objects.filter(run=run, status="pending").order_by("id"))


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}
