"""What a run may cost on PostgreSQL: round trips and commits from submit to completed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH, MAX_CACHED_STATEMENT_PARAMS

from sessions_app.engine import loop
from sessions_app.models import Session
from sessions_app.services import approvals, runs, sessions
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.writes import Change, postgres
from tests.sessions_app.engine.conftest import ALICE, call, pending, submit

pytestmark = [pytest.mark.services_only, pytest.mark.django_db(transaction=True)]
Script = Callable[..., Any]
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")


def cost(session: Session, heartbeat: Heartbeat) -> tuple[int, int]:
    """Drive one run; return (round trips, commits). ``BEGIN`` and ``COMMIT`` are round trips too."""
    with CaptureQueriesContext(connection) as captured:
        run = submit(session)
        loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    commits, open_transaction = 0, False
    for query in captured.captured_queries:
        sql = query["sql"].lstrip().upper()
        if sql == "BEGIN":
            open_transaction = True
        elif sql == "COMMIT":
            open_transaction, commits = False, commits + 1
        elif not open_transaction and sql.startswith(WRITES):
            commits += 1
    return len(captured.captured_queries), commits


def test_a_trivial_run(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    script({"text": "done"})
    round_trips, commits = cost(session, heartbeat)
    assert commits <= 5
    assert round_trips <= 10


def test_the_cost_does_not_grow_with_history(script: Script, session: Session, heartbeat: Heartbeat) -> None:
    script({"text": "done"})
    first = cost(session, heartbeat)
    for _ in range(10):
        cost(session, heartbeat)
    assert cost(session, heartbeat) == first


@pytest.mark.parametrize("calls", [1, 3])
def test_calls_nobody_is_asked_about_add_two_commits(
    script: Script, session: Session, heartbeat: Heartbeat, calls: int
) -> None:
    """They start with the commit that plans them; each commit is one statement."""
    script({"text": "done"})
    round_trips, trivial = cost(session, heartbeat)
    (sessions.workspace(session) / "a.txt").write_text("a")
    script({"tool_calls": [call("read_file", path="a.txt")] * calls}, {"text": "done"})
    more_round_trips, with_tool = cost(session, heartbeat)
    assert with_tool - trivial == 2
    assert more_round_trips - round_trips == 8


def test_the_driver_keeps_what_it_made_of_each_commit(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It parses a statement anew each time that is longer, or has more parameters, than these limits."""
    texts: set[str] = set()
    made = postgres._statement

    def noted(change: Change) -> tuple[str, dict[str, Any]]:
        text, values = made(change)
        texts.add(text)
        return text, values

    monkeypatch.setattr(postgres, "_statement", noted)
    outputs = [call("emit_output", content="a"), call("emit_output", content="b")]
    script(
        {"tool_calls": [call("list_files"), call("bash", command="true")]},
        {"tool_calls": outputs},
        {"text": "x"},
    )
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    for approval in pending(run):
        approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    submit(session)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    assert len(texts) > 8
    for text in texts:
        assert len(text) <= MAX_CACHED_STATEMENT_LENGTH, text
        assert len(set(re.findall(r"%\((\w+)\)s", text))) <= MAX_CACHED_STATEMENT_PARAMS, text
