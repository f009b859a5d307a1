"""Operator decisions: what came of an effect that nobody else can know."""

from typing import Any

import pytest

from sessions_app.models import OperatorDecision, RunStatus
from tests.factories import code_of
from tests.sessions_app.api.rows import ask_decision, caller, make_session, stranger

pytestmark = pytest.mark.django_db


def resolve(client: Any, decision: OperatorDecision, outcome: str, **body: Any) -> Any:
    return client.post(f"/v1/decisions/{decision.decision_id}/resolve", {"outcome": outcome, **body})


def test_a_decision_shows_its_call_and_redacted_output() -> None:
    run, decision = ask_decision(make_session(), partial_output="password=hunter2222 sent")
    view = caller("viewer").get(f"/v1/decisions/{decision.decision_id}").json()
    assert (view["run_id"], view["status"], view["tool_name"]) == (run.run_id, "pending", "bash")
    assert view["input"] == {"command": "make deploy"}
    assert "hunter2222" not in view["partial_output"]
    assert "outcome" not in view


@pytest.mark.parametrize(
    ("outcome", "call_state", "run_status"),
    [
        ("happened", "reconciled", RunStatus.QUEUED),
        ("not_happened", "planned", RunStatus.QUEUED),
        ("tell_agent", "reconciled", RunStatus.QUEUED),
        ("give_up", "reconciled", RunStatus.FAILED),
    ],
)
def test_every_outcome_settles_once(outcome: str, call_state: str, run_status: RunStatus) -> None:
    run, decision = ask_decision(make_session())
    first = resolve(caller(name="ann"), decision, outcome, note="looked", result="deployed")
    assert first.status_code == 200, first.content
    view = first.json()
    assert (view["status"], view["outcome"], view["resolved_by"]) == ("resolved", outcome, "ann")
    assert view["note"] == "looked"
    assert resolve(caller(name="ben"), decision, outcome).json() == view
    run.refresh_from_db()
    decision.tool_call.refresh_from_db()
    assert (run.status, decision.tool_call.state) == (run_status, call_state)
    other = resolve(caller(), decision, "happened" if outcome != "happened" else "give_up")
    assert (other.status_code, code_of(other)) == (409, "decision_state_conflict")
    assert other.json()["detail"] == f"already decided: {outcome}, by ann"
    assert (other.json()["outcome"], other.json()["resolved_by"]) == (outcome, "ann")


@pytest.mark.parametrize(
    "body", [{}, {"outcome": "maybe"}, {"outcome": "happened", "x": 1}, {"outcome": 1}, []]
)
def test_a_judgement_that_breaks_the_schema_is_400(body: Any) -> None:
    _, decision = ask_decision(make_session())
    answer = caller().post(f"/v1/decisions/{decision.decision_id}/resolve", body, format="json")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


def test_the_same_key_is_answered_once() -> None:
    _, decision = ask_decision(make_session())
    client, path = caller(), f"/v1/decisions/{decision.decision_id}/resolve"
    first = client.post(path, {"outcome": "happened"}, headers={"Idempotency-Key": "k"})
    again = client.post(path, {"outcome": "happened"}, headers={"Idempotency-Key": "k"})
    assert again.json() == first.json()
    other = client.post(path, {"outcome": "give_up"}, headers={"Idempotency-Key": "k"})
    assert code_of(other) == "idempotency_conflict"


def test_viewers_look_and_operators_decide() -> None:
    _, decision = ask_decision(make_session())
    path = f"/v1/decisions/{decision.decision_id}"
    for address in ("/v1/decisions", path):
        assert stranger().get(address).status_code == 401
        assert caller("viewer").get(address).status_code == 200
    assert stranger().post(f"{path}/resolve", {}).status_code == 401
    assert caller("viewer").post(f"{path}/resolve", {"outcome": "happened"}).status_code == 403
    missing = caller().post("/v1/decisions/dec_nobody/resolve", {"outcome": "happened"})
    assert (missing.status_code, code_of(missing)) == (404, "decision_not_found")
    assert caller().get("/v1/decisions/dec_nobody").status_code == 404


def test_list_filters() -> None:
    run, one = ask_decision(make_session("a"))
    _, two = ask_decision(make_session("b"))
    client = caller()
    resolve(client, one, "happened")

    def ids(query: str) -> list[str]:
        return [item["decision_id"] for item in client.get(f"/v1/decisions?{query}").json()["items"]]

    assert ids("") == [two.decision_id, one.decision_id]
    assert ids("status=pending") == [two.decision_id]
    assert ids("session_id=a") == [one.decision_id]
    assert ids(f"run_id={run.run_id}&tool_name=bash") == [one.decision_id]
    assert ids("tool_name=other") == []
    assert client.get("/v1/decisions?status=open").status_code == 400
