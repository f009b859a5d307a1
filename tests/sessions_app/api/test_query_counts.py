"""What each read costs: as many queries for many rows as for few, and no more than is written here."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from kheish_site.lib.transactions import write
from sessions_app.models import RunStatus, ToolCall
from sessions_app.services import external_actions
from sessions_app.services.external_actions import Action
from tests.factories import make_asset
from tests.sessions_app.api.rows import (
    ask_approvals,
    ask_decision,
    ask_question,
    caller,
    make_persona,
    make_run,
    make_session,
    make_task,
    move,
)

pytestmark = pytest.mark.django_db


def fill_sessions(number: int) -> None:
    persona = make_persona(f"persona-{number}").persona.persona_id
    for n in range(number):
        ask_approvals(make_session(f"s-{number}-{n}", persona_id=persona), 2)


def fill_runs(number: int) -> None:
    for n in range(number):
        session = make_session(f"s-{number}-{n}")
        ask_approvals(session, 2)
        make_run(session)
        ask_question(make_session(f"q-{number}-{n}"))
        ask_decision(make_session(f"d-{number}-{n}"))


def fill_tasks(number: int) -> None:
    run = _running(number)
    for _ in range(number):
        make_task(run, "text")


def fill_audits(number: int) -> None:
    fill_tasks(number)
    assert ToolCall.objects.exclude(permission={}).exists()


def fill_actions(number: int) -> None:
    made = Action(phase="started", kind="tool", target="bash")
    with write():
        external_actions.record(*[made] * number, session_id="desk")


def fill_assets(number: int) -> None:
    for n in range(number):
        make_asset(f"{number} {n}".encode(), "text/plain")


def _running(number: int):  # type: ignore[no-untyped-def]
    session = make_session("desk")
    busy = session.runs.filter(status=RunStatus.RUNNING).first()
    return busy or move(make_run(session), RunStatus.RUNNING)


# path, what fills it, queries: one finds the token, then count and page, then what the views add
LISTS: list[tuple[str, Callable[[int], None], int]] = [
    ("/v1/sessions", fill_sessions, 7),
    ("/v1/runs", fill_runs, 7),
    ("/v1/runs?priority_active=true&status=queued&status=running", fill_runs, 4),
    ("/v1/approvals", fill_runs, 4),
    ("/v1/questions", fill_runs, 3),
    ("/v1/decisions", fill_runs, 3),
    ("/v1/sessions/desk/tasks", fill_tasks, 4),
    ("/v1/sessions/desk/permission-audits", fill_audits, 4),
    ("/v1/sessions/desk/events", fill_tasks, 3),
    ("/v1/external-actions", fill_actions, 3),
    ("/v1/sessions/desk/external-actions", fill_actions, 4),
    ("/v1/assets", fill_assets, 3),
]


@pytest.mark.parametrize(("path", "fill", "queries"), LISTS, ids=[item[0] for item in LISTS])
def test_a_list_costs_the_same_however_long(path: str, fill: Callable[[int], None], queries: int) -> None:
    client, costs = caller("viewer"), []
    client.get("/v1/runs/none")  # the token's first use is recorded once a minute
    for number in (2, 7):
        fill(number)
        costs.append(_cost(client, path))
    assert costs == [queries, queries]


def test_a_detail_costs_what_is_written_here() -> None:
    session = make_session()
    run, (approval,) = ask_approvals(session)
    _, question = ask_question(make_session("q"))
    _, decision = ask_decision(make_session("d"))
    task = make_task(move(make_run(make_session("t")), RunStatus.RUNNING), "text")
    client = caller("viewer")
    client.get("/v1/runs/none")
    costs = {
        path: _cost(client, f"/v1/{path}".format(run=run.run_id))
        for path in (
            "sessions/desk", "runs/{run}", "runs/{run}/events", "sessions/desk/verify",
            f"approvals/{approval.approval_id}", f"questions/{question.question_id}",
            f"decisions/{decision.decision_id}", f"sessions/t/tasks/{task.task_id}",
            f"sessions/t/tasks/{task.task_id}/output",
        )
    }  # fmt: skip
    assert list(costs.values()) == [6, 5, 4, 4, 3, 2, 2, 2, 4]


def test_nothing_is_asked_about_the_runs_of_a_session_that_had_none() -> None:
    make_session("fresh")
    client = caller("viewer")
    client.get("/v1/runs/none")
    assert _cost(client, "/v1/sessions/fresh") == 2


def _cost(client, path: str) -> int:  # type: ignore[no-untyped-def]
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return len(captured)
