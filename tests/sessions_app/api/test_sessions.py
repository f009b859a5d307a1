"""Sessions: made, found, listed, ended, interrupted."""

import pytest

from sessions_app.models import RunStatus, Session
from sessions_app.services import sessions
from tests.factories import code_of
from tests.sessions_app.api.rows import (
    ask_approvals,
    ask_decision,
    ask_question,
    caller,
    make_persona,
    make_route,
    make_run,
    make_session,
    move,
    stranger,
)

pytestmark = pytest.mark.django_db


def test_create_answers_201_with_the_view() -> None:
    answer = caller().post("/v1/sessions", {"session_id": "incident-4821", "thread_id": "T1"})
    assert answer.status_code == 201, answer.content
    assert answer["Location"] == "/v1/sessions/incident-4821"
    assert answer["ETag"] == '"1"'
    view = answer.json()
    assert (view["session_id"], view["status"], view["thread_id"]) == ("incident-4821", "idle", "T1")
    assert view["permission_mode"] is None
    assert view["unknown_effects"] == "ask"
    assert view["next_seq"] == 2
    assert view["workspace"].endswith(sessions.get("incident-4821").workspace)
    assert "ended_at" not in view
    assert "persona" not in view


def test_create_without_a_body_makes_an_id() -> None:
    answer = caller().post("/v1/sessions")
    assert answer.status_code == 201
    assert answer.json()["session_id"].startswith("session_")


def test_create_again_is_201_with_the_same_session() -> None:
    client = caller()
    first = client.post("/v1/sessions", {"session_id": "desk"})
    again = client.post("/v1/sessions", {"session_id": "desk"})
    assert again.status_code == 201
    assert again.json() == first.json()
    assert Session.objects.count() == 1


def test_reuse_with_another_persona_is_409() -> None:
    make_persona("reviewer")
    make_persona("writer")
    client = caller()
    assert client.post("/v1/sessions", {"session_id": "desk", "persona_id": "reviewer"}).status_code == 201
    assert client.post("/v1/sessions", {"session_id": "desk", "persona_id": "reviewer"}).status_code == 201
    other = client.post("/v1/sessions", {"session_id": "desk", "persona_id": "writer"})
    assert other.status_code == 409
    assert code_of(other) == "session_exists"


def test_a_persona_is_shown_without_its_soul() -> None:
    make_persona()
    answer = caller().post("/v1/sessions", {"session_id": "desk", "persona_id": "reviewer"})
    bound = answer.json()["persona"]
    assert (bound["persona_id"], bound["revision"], bound["display_name"]) == ("reviewer", 1, "Reviewer")
    assert "soul" not in answer.content.decode()


def test_scopes_are_stored_in_one_form_and_shown() -> None:
    client = caller()
    scope = {
        "capability_scope": {"skill_allow": [" b ", "a", "a"]},
        "credential_scope": {"route_deny": ["x", "*"]},
    }
    view = client.post("/v1/sessions", {"session_id": "desk", **scope}).json()
    assert view["capability_scope"] == {"skill_allow": ["a", "b"]}
    assert view["credential_scope"] == {"route_deny": ["*"]}
    assert client.get("/v1/sessions/desk/capability-scope").json() == {
        "capability_scope": {"skill_allow": ["a", "b"]}
    }
    assert client.get("/v1/sessions/desk/credential-scope").status_code == 200


@pytest.mark.parametrize("session_id", ["", ".", "..", "a/b", "a b", "a?b", "a#b", "%2e", "x" * 201, "a\tb"])
def test_ids_that_cannot_stand_in_a_path_are_refused(session_id: str) -> None:
    answer = caller().post("/v1/sessions", {"session_id": session_id})
    assert answer.status_code == 400
    assert code_of(answer) in ("invalid_session_id", "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"unknown": 1},
        {"session_id": 7},
        {"permission_mode": "yolo"},
        {"unknown_effects": "guess"},
        {"route_policy": {"generation": {"temperature": "hot"}}},
        {"route_policy": {"generation": {"tool_choice": {"name": 1}}}},
        {"capability_scope": {"skills": []}},
        {"reply_targets": "x"},
        ["a"],
        "text",
        None,
    ],
)
def test_a_body_that_breaks_the_schema_is_400(body: object) -> None:
    answer = caller("admin").post("/v1/sessions", body, format="json")
    if body is None:
        assert answer.status_code in (201, 400)
        return
    assert answer.status_code == 400, answer.content
    assert code_of(answer) == "invalid_request"


def test_an_unknown_persona_is_404() -> None:
    answer = caller().post("/v1/sessions", {"persona_id": "nobody"})
    assert answer.status_code == 404
    assert code_of(answer) == "persona_not_found"


def test_viewers_look_and_operators_change() -> None:
    make_session()
    assert stranger().get("/v1/sessions").status_code == 401
    assert stranger().post("/v1/sessions", {}).status_code == 401
    viewer = caller("viewer")
    assert viewer.get("/v1/sessions").status_code == 200
    assert viewer.get("/v1/sessions/desk").status_code == 200
    for path in ("/v1/sessions", "/v1/sessions/desk/end", "/v1/sessions/desk/interrupt"):
        answer = viewer.post(path, {})
        assert answer.status_code == 403
        assert code_of(answer) == "insufficient_access"


@pytest.mark.parametrize("mode", ["acceptEdits", "bypassPermissions"])
def test_only_an_admin_loosens_permissions(mode: str) -> None:
    refused = caller().post("/v1/sessions", {"permission_mode": mode})
    assert refused.status_code == 403
    assert code_of(refused) == "permission_setting_forbidden"
    assert caller("admin").post("/v1/sessions", {"permission_mode": mode}).status_code == 201
    assert caller().post("/v1/sessions", {"permission_mode": "plan"}).status_code == 201
    rules = [{"tool_name_pattern": "bash", "behavior": "allow"}]
    assert caller().post("/v1/sessions", {"permission_rules": rules}).status_code == 403
    assert caller("admin").post("/v1/sessions", {"permission_rules": rules}).status_code == 201


def test_rules_that_are_none_are_refused_whole() -> None:
    answer = caller("admin").post(
        "/v1/sessions", {"session_id": "desk", "permission_rules": [{"tool_name_pattern": "bash"}]}
    )
    assert answer.status_code == 400
    assert code_of(answer) == "invalid_permission_rule"
    assert not Session.objects.exists()


def test_an_oversized_setting_is_413() -> None:
    targets = [{"address": "x" * 70_000}]
    answer = caller().post("/v1/sessions", {"reply_targets": targets})
    assert answer.status_code == 413
    assert code_of(answer) == "setting_too_large"


def test_get_unknown_is_404() -> None:
    answer = caller("viewer").get("/v1/sessions/nobody")
    assert answer.status_code == 404
    assert code_of(answer) == "session_not_found"


def test_the_same_key_gives_the_same_session() -> None:
    client = caller()
    first = client.post("/v1/sessions", {}, headers={"Idempotency-Key": "k1"})
    again = client.post("/v1/sessions", {}, headers={"Idempotency-Key": "k1"})
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert again["Location"] == first["Location"]
    other = client.post("/v1/sessions", {"thread_id": "x"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert code_of(other) == "idempotency_conflict"
    assert Session.objects.count() == 1


def test_status_follows_what_runs_and_waits() -> None:
    client = caller("viewer")
    make_session("idle")
    make_run(make_session("queued"))
    move(make_run(make_session("running")), RunStatus.RUNNING)
    ask_approvals(make_session("approval"), 2)
    ask_question(make_session("question"))
    ask_decision(make_session("decision"))
    sessions.end(make_session("ended").session_id, principal="alice")
    expected = {
        "idle": "idle",
        "queued": "running",
        "running": "running",
        "approval": "waiting_for_approval",
        "question": "waiting_for_user_input",
        "decision": "waiting_for_operator",
        "ended": "ended",
    }
    items = client.get("/v1/sessions").json()["items"]
    assert {item["session_id"]: item["status"] for item in items} == expected
    counts = {item["session_id"]: item for item in items}
    assert counts["approval"]["pending_approvals"] == 2
    assert counts["question"]["pending_questions"] == 1
    assert counts["decision"]["pending_decisions"] == 1
    assert counts["queued"]["queued_runs"] == 1
    assert "active_run_id" not in counts["queued"]
    assert counts["running"]["active_run_id"].startswith("run_")
    for status in set(expected.values()):
        found = {item["session_id"] for item in client.get(f"/v1/sessions?status={status}").json()["items"]}
        assert found == {name for name, shown in expected.items() if shown == status}


def test_list_filters_and_pages() -> None:
    make_persona()
    for number in range(5):
        make_session(f"case-{number}", thread_id="Thread" if number == 3 else "")
    make_session("other", persona_id="reviewer")
    client = caller("viewer")

    def ids(query: str) -> list[str]:
        return [item["session_id"] for item in client.get(f"/v1/sessions?{query}").json()["items"]]

    assert ids("persona_id=reviewer") == ["other"]
    assert ids("q=CASE-4") == ["case-4"]
    assert ids("q=thread") == ["case-3"]
    assert ids("q=%25") == []
    page = client.get("/v1/sessions?limit=4").json()
    assert page["pagination"] == {
        "limit": 4,
        "total_count": 6,
        "has_more": True,
        "next_cursor": page["pagination"]["next_cursor"],
        "order": "desc",
    }
    rest = client.get(f"/v1/sessions?limit=4&cursor={page['pagination']['next_cursor']}").json()
    seen = [item["session_id"] for item in page["items"] + rest["items"]]
    assert seen == ["other", "case-4", "case-3", "case-2", "case-1", "case-0"]
    assert rest["pagination"]["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_limit"),
        ("limit=-1", "invalid_limit"),
        ("limit=x", "invalid_limit"),
        ("cursor=x", "invalid_cursor"),
        ("cursor=", "invalid_cursor"),
        ("status=asleep", "invalid_request"),
        ("colour=red", "invalid_request"),
        ("q=a&q=b", "invalid_request"),
    ],
)
def test_a_bad_query_is_400(query: str, code: str) -> None:
    answer = caller("viewer").get(f"/v1/sessions?{query}")
    assert answer.status_code == 400
    assert code_of(answer) == code


def test_end_takes_no_more_input_and_repeats() -> None:
    session = make_session()
    client = caller()
    first = client.post("/v1/sessions/desk/end", {"reason": "resolved"})
    assert first.status_code == 200
    assert first.json()["status"] == "ended"
    assert first.json()["end_reason"] == "resolved"
    again = client.post("/v1/sessions/desk/end", {})
    assert again.json()["ended_at"] == first.json()["ended_at"]
    refused = client.post("/v1/sessions/desk/runs", {"content": "more"})
    assert refused.status_code == 409
    assert code_of(refused) == "session_ended"
    assert session.entries.filter(kind="session.ended").count() == 1


def test_end_needs_an_idle_session() -> None:
    make_run(make_session())
    answer = caller().post("/v1/sessions/desk/end", {})
    assert answer.status_code == 409
    assert code_of(answer) == "session_busy"
    assert caller().post("/v1/sessions/nobody/end", {}).status_code == 404


def test_interrupt_says_whether_something_was_active() -> None:
    session = make_session()
    client = caller()
    assert client.post("/v1/sessions/desk/interrupt", {}).json()["interrupted"] is False
    run, _ = ask_approvals(session)
    queued = make_run(session)
    answer = client.post("/v1/sessions/desk/interrupt", {"reason": "wrong host"}).json()
    assert answer["interrupted"] is True
    assert answer["run_id"] == run.run_id
    assert answer["session"]["pending_approvals"] == 0
    assert client.get(f"/v1/runs/{run.run_id}").json()["status"] == "interrupted"
    assert client.get(f"/v1/runs/{queued.run_id}").json()["status"] == "queued"
    assert client.post("/v1/sessions/nobody/interrupt", {}).status_code == 404


def test_interrupting_a_running_run_asks_its_worker() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    client = caller()
    for _ in range(2):
        assert client.post("/v1/sessions/desk/interrupt", {}).json()["interrupted"] is True
    view = client.get(f"/v1/runs/{run.run_id}").json()
    assert (view["status"], view["stop_requested"]) == ("running", "interrupted")


def test_head_and_unknown_methods() -> None:
    make_session()
    client = caller("admin")
    assert client.put("/v1/sessions", {}).status_code == 405
    assert client.delete("/v1/sessions/desk").status_code == 405
    assert client.get("/v1/sessions/desk/nothing").status_code == 404
    make_route()
