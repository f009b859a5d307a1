"""People with their groups, signed in, and runs that really wait for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

import kheish_site.urls  # noqa: F401 (registers the console's pages, whichever test comes first)
from kheish_site.lib.transactions import write
from sessions_app.engine import loop
from sessions_app.models import (
    Approval,
    OperatorDecision,
    Run,
    RunStatus,
    Session,
    ToolCall,
    ToolCallState,
    UserQuestion,
)
from sessions_app.services import accounts, decisions, effects, run_state
from sessions_app.services.heartbeat import Heartbeat
from tests.factories import make_route, make_run, make_session

Desk = Callable[[str], Client]


@pytest.fixture(autouse=True)
def workspaces(tmp_path: Path, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, workspace_root=tmp_path / "workspaces")


@pytest.fixture
def desk(db: Any) -> Desk:
    """A signed-in browser of a person in this group ("" for none, "root" for a superuser)."""
    accounts.ensure_groups()

    def sign_in(group: str) -> Client:
        user = User.objects.create(username=group or "stranger", is_staff=True, is_superuser=group == "root")
        if group in ("viewer", "operator", "admin"):
            user.groups.add(Group.objects.get(name=group))
        if group == "operator":  # one who was given the right to say yes to commands
            user.user_permissions.add(Permission.objects.get(codename="decide_high_risk"))
        client = Client()
        client.force_login(user)
        return client

    return sign_in


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def drive(*turns: dict[str, Any], session_id: str = "desk") -> Run:
    """A run that played these turns until it ended or waits."""
    route = make_route(f"route-{session_id}", options={"script": {"turns": list(turns)}})
    session = Session.objects.filter(session_id=session_id).first() or make_session(session_id)
    run = make_run(session, route_id=route.route_id)
    loop.drive(run.session_id, Heartbeat("worker-1"))
    run.refresh_from_db()
    return run


def waiting_approval(session_id: str = "desk", command: str = "echo hello") -> Approval:
    """A run that waits for a yes to a command."""
    run = drive(
        {"text": "may I?", "tool_calls": [call("bash", command=command)]},
        {"text": "done"},
        session_id=session_id,
    )
    return Approval.objects.get(run=run)


def waiting_question(session_id: str = "asking") -> UserQuestion:
    """A run that asks a question of one choice and one of several."""
    asked = [
        {"question": "Which region?", "options": [{"label": "east"}, {"label": "west"}]},
        {
            "question": "Which checks?",
            "options": [{"label": "smoke"}, {"label": "load"}],
            "multi_select": True,
        },
    ]
    turn = {"text": "", "tool_calls": [call("ask_user_question", questions=asked)]}
    return UserQuestion.objects.get(run=drive(turn, {"text": "thanks"}, session_id=session_id))


def waiting_decision(session_id: str = "doubt") -> OperatorDecision:
    """A run whose worker died while a command ran."""
    approval = waiting_approval(session_id, "make deploy")
    pretend_unknown(approval)
    return OperatorDecision.objects.get(run=approval.run)


def pretend_unknown(approval: Approval) -> None:
    """Leave the rows as recovery leaves them: the call unknown, an operator asked, the run waiting."""
    run = Run.objects.select_related("session").get(pk=approval.run_id)
    with write():
        Approval.objects.filter(pk=approval.pk).update(status="allowed")
        ToolCall.objects.filter(pk=approval.tool_call_id).update(state="started")
        tool_call = ToolCall.objects.get(pk=approval.tool_call_id)
        effects.advance(tool_call, ToolCallState.UNKNOWN)
        _, entry = decisions.request(run, tool_call, partial_output="copying files")
        to = RunStatus.WAITING_FOR_OPERATOR
        run_state.transition(run, to, session_id=run.session.session_id, before=(entry,))
