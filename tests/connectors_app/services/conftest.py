"""The engine's fixtures: the runs behind buttons are driven for real."""

from collections.abc import Callable
from typing import Any

import pytest

from connectors_app.models import Connector
from sessions_app.engine import loop
from sessions_app.models import Approval, Run, Session, UserQuestion
from sessions_app.services.heartbeat import Heartbeat
from tests.connectors_app.people import answer_to, make_connector, make_person, target_of
from tests.sessions_app.engine.conftest import call, heartbeat, script, session, submit, workspaces

__all__ = ["heartbeat", "script", "session", "workspaces"]

Asking = Callable[..., Any]
CHOICE = {"question": "Which region?", "options": [{"label": "east"}, {"label": "west"}]}


@pytest.fixture
def slack(session: Session) -> Connector:
    """The connector the session answers to."""
    connector = make_connector()
    session.reply_targets = [target_of(connector, channel_id="C1")]
    answer_to(session, *session.reply_targets)
    return connector


@pytest.fixture
def olga(slack: Connector) -> str:
    """An operator, by the id the platform knows her by."""
    make_person(slack, "U-olga", "olga")
    return "U-olga"


@pytest.fixture
def drive(script: Callable[..., Any], session: Session, heartbeat: Heartbeat) -> Callable[..., Run]:
    """Make a run that plays these turns until it ends or waits."""

    def play(*turns: dict[str, Any], **new: Any) -> Run:
        script(*turns)
        run = submit(session, **new)
        loop.drive(session.pk, heartbeat)
        run.refresh_from_db()
        return run

    return play


@pytest.fixture
def approval(drive: Callable[..., Run], slack: Connector) -> Approval:
    """What a run waits for: a yes to a command."""
    run = drive({"tool_calls": [call("bash", command="echo hello")]}, {"text": "done"})
    return Approval.objects.get(run=run)


@pytest.fixture
def ask(drive: Callable[..., Run], slack: Connector) -> Callable[..., UserQuestion]:
    """Make a run that asks these questions."""

    def make(*asked: dict[str, Any], **more: Any) -> UserQuestion:
        turn = {"tool_calls": [call("ask_user_question", questions=list(asked or [CHOICE]), **more)]}
        return UserQuestion.objects.get(run=drive(turn, {"text": "thanks"}))

    return make
