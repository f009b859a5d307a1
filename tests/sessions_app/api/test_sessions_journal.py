"""A session's journal, its verification and its permission audits over HTTP."""

import pytest
from django.db import connection

from sessions_app.models import JournalEntry, RunStatus
from sessions_app.services import runs
from tests.factories import code_of
from tests.sessions_app.api.rows import ask_approvals, caller, make_run, make_session, move, stranger

pytestmark = pytest.mark.django_db


def test_events_page_forward_without_gap() -> None:
    session = make_session()
    for text in ("one", "two", "three"):
        make_run(session, text)
    client, seen, cursor = caller("viewer"), [], "0"
    while cursor:
        page = client.get(f"/v1/sessions/desk/events?limit=3&cursor={cursor}").json()
        seen += page["items"]
        cursor = page["pagination"]["next_cursor"]
        assert page["pagination"]["total_count"] == 7
        assert page["pagination"]["order"] == "asc"
    assert [item["seq"] for item in seen] == list(range(1, 8))
    assert seen[0]["kind"] == "session.created"
    assert seen[0]["run_id"] is None
    assert seen[1]["run_id"].startswith("run_")
    assert all(item["session_id"] == "desk" and item["at"].endswith("Z") for item in seen)
    assert seen[3]["prev_hash"] == seen[2]["hash"]


def test_events_after_and_of_some_kinds() -> None:
    session = make_session()
    make_run(session)
    make_run(session)
    client = caller("viewer")
    after = client.get("/v1/sessions/desk/events?after=3").json()["items"]
    assert [item["seq"] for item in after] == [4, 5]
    for query in ("kind=run.accepted", "kinds=run.accepted", "kind=run.accepted,run.failed"):
        page = client.get(f"/v1/sessions/desk/events?{query}").json()
        assert [item["kind"] for item in page["items"]] == ["run.accepted"] * 2
        assert page["pagination"]["total_count"] == 2
    both = client.get("/v1/sessions/desk/events?kind=run.accepted&kind=session.created").json()
    assert len(both["items"]) == 3


def test_run_events_are_the_runs_own() -> None:
    session = make_session()
    first, second = make_run(session), make_run(session)
    move(first, RunStatus.RUNNING, RunStatus.COMPLETED)
    page = caller("viewer").get(f"/v1/runs/{first.run_id}/events").json()
    assert [item["kind"] for item in page["items"]] == [
        "run.accepted", "run.queued", "run.started", "run.completed",
    ]  # fmt: skip
    assert {item["run_id"] for item in page["items"]} == {first.run_id}
    assert page["pagination"]["total_count"] == 4
    last = caller("viewer").get(f"/v1/runs/{second.run_id}/events?limit=1").json()
    assert last["pagination"]["has_more"] is True


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("cursor=x", "invalid_event_cursor"),
        ("cursor=", "invalid_event_cursor"),
        ("after=-1", "invalid_event_cursor"),
        ("after=" + "9" * 30, "invalid_event_cursor"),
        ("after=1&cursor=2", "invalid_event_cursor"),
        ("limit=0", "invalid_limit"),
        ("kind=Drop Table", "invalid_request"),
        ("kind=", "invalid_request"),
        ("sort=x", "invalid_request"),
    ],
)
def test_a_bad_query_is_400(query: str, code: str) -> None:
    run = make_run(make_session())
    for path in ("/v1/sessions/desk/events", f"/v1/runs/{run.run_id}/events"):
        answer = caller("viewer").get(f"{path}?{query}")
        assert (answer.status_code, code_of(answer)) == (400, code)


def test_unknown_and_unsigned() -> None:
    make_session()
    for path in ("events", "verify", "permission-audits"):
        assert stranger().get(f"/v1/sessions/desk/{path}").status_code == 401
        answer = caller("viewer").get(f"/v1/sessions/nobody/{path}")
        assert (answer.status_code, code_of(answer)) == (404, "session_not_found")
    assert caller("viewer").get("/v1/runs/run_nobody/events").status_code == 404


def test_verify_finds_a_changed_entry() -> None:
    session = make_session()
    make_run(session)
    client = caller("viewer")
    good = client.get("/v1/sessions/desk/verify").json()
    assert (good["valid"], good["entries"]) == (True, 3)
    assert "broken_at" not in good
    _tamper(session.pk)
    bad = client.get("/v1/sessions/desk/verify").json()
    assert (bad["valid"], bad["broken_at"], bad["problem"]) == (False, 2, "the entry was changed")


def _tamper(session_pk: int) -> None:
    row = JournalEntry.objects.get(session_id=session_pk, seq=2)
    table = JournalEntry._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET kind = 'run.completed' WHERE id = %s", [row.pk])


def test_audits_explain_each_call() -> None:
    session = make_session()
    run, _ = ask_approvals(session, 2)
    page = caller("viewer").get("/v1/sessions/desk/permission-audits?limit=1").json()
    assert page["pagination"]["total_count"] == 2
    audit = page["items"][0]
    assert (audit["run_id"], audit["tool_name"], audit["state"]) == (run.run_id, "bash", "awaiting_approval")
    assert (audit["decision"], audit["base_decision"], audit["effective_mode"]) == ("ask", "ask", "default")
    assert audit["matched_rule_pattern"] == "bash"


def test_a_stopped_run_leaves_the_reason_in_the_journal() -> None:
    run = make_run(make_session())
    runs.cancel(run.run_id, principal="alice", reason="not needed")
    page = caller("viewer").get("/v1/sessions/desk/events?kind=run.cancelled").json()
    assert page["items"][0]["payload"]["reason"] == "not needed"
