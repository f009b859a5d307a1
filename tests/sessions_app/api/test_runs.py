"""Runs: submitted, listed, read, cancelled."""

from typing import Any

import pytest
from django.conf import settings

from kheish_site.lib.redaction import MASK
from sessions_app.models import Route, Run, RunStatus, Session
from sessions_app.services import routes
from tests.factories import code_of, make_asset
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

SUBMIT = ["/v1/sessions/desk/runs", "/v1/sessions/desk/input"]


@pytest.mark.parametrize("path", SUBMIT)
def test_submitting_answers_202_with_the_run(path: str) -> None:
    make_session()
    answer = caller(name="ann").post(path, {"content": "check the\ndeploy", "metadata": {"ticket": 4821}})
    assert answer.status_code == 202, answer.content
    view = answer.json()
    assert answer["Location"] == f"/v1/runs/{view['run_id']}"
    assert (view["status"], view["queued_position"], view["kind"], view["step"]) == ("queued", 1, "input", 0)
    assert (view["route_id"], view["model"], view["permission_mode"]) == ("scripted", "script", "default")
    assert view["request"] == {
        "source_plugin": "daemon",
        "source_kind": "api",
        "actor_id": "api-user",
        "requested_by": "ann",
        "text_preview": "check the deploy",
    }
    assert view["input_items"] == [{"type": "text", "text": "check the\ndeploy"}]
    assert view["metadata"] == {"ticket": 4821}
    assert not {"started_at", "finished_at", "error", "waiting_for", "persona"} & set(view)
    assert caller("viewer").get(answer["Location"]).json() == view


@pytest.mark.parametrize("path", SUBMIT)
def test_a_busy_session_queues_in_order(path: str) -> None:
    session = make_session()
    move(make_run(session), RunStatus.RUNNING)
    client = caller()
    places = [client.post(path, {"content": str(n)}).json()["queued_position"] for n in range(3)]
    assert places == [1, 2, 3]


@pytest.mark.parametrize("path", SUBMIT)
def test_the_same_key_gives_the_same_run(path: str) -> None:
    make_session()
    client = caller()
    first = client.post(path, {"content": "go"}, headers={"Idempotency-Key": "k"})
    again = client.post(path, {"content": "go"}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first.json())
    member = client.post(path, {"content": "go", "idempotency_key": "k"})
    assert member.json()["run_id"] == first.json()["run_id"]
    other = client.post(path, {"content": "stop"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, code_of(other)) == (409, "idempotency_conflict")
    assert Run.objects.count() == 1


@pytest.mark.parametrize("path", SUBMIT)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "input_empty"),
        ({"content": " \n"}, "input_empty"),
        ({"content": "a", "input_items": [{"type": "text", "text": "b"}]}, "input_ambiguous"),
        ({"input_items": [{"type": "board_reference"}]}, "input_item_unsupported"),
        ({"input_items": [{"type": "asset_reference"}]}, "invalid_request"),
        ({"input_items": [{"type": "text", "asset_id": "x"}]}, "invalid_request"),
        ({"content": 5}, "invalid_request"),
        ({"content": "a", "colour": "red"}, "invalid_request"),
        ({"content": "a", "metadata": []}, "invalid_request"),
        ({"content": "a", "metadata": {"a": [[[[[[[[[1]]]]]]]]]}}, "metadata_too_deep"),
        ({"content": "a", "generation": {"temperature": 9}}, "invalid_request"),
        ({"content": "a", "generation": {"response_format": {"type": "structured_json"}}}, "invalid_request"),
        ({"content": "a", "route_id": "x", "provider": "y"}, "route_selector_conflict"),
        ({"content": "a", "route_id": "scripted", "model": "other/m"}, "route_selector_conflict"),
        ({"content": "a", "model": "scripted/"}, "model_selector_invalid"),
    ],
)
def test_input_that_cannot_be_accepted_makes_no_run(path: str, body: Any, code: str) -> None:
    make_session()
    make_route("other", default=False)
    answer = caller().post(path, body)
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("policy", "body", "found"),
    [
        ({"generation": {"model": "other/m"}}, {}, ("other", "m")),
        ({"route_id": "other", "generation": {"model": "m"}}, {}, ("other", "m")),
        ({"generation": {"model": "other/m"}}, {"route_id": "other"}, ("other", "m")),
        ({"generation": {"model": "other/m"}}, {"route_id": "scripted"}, ("scripted", "script")),
        ({"generation": {"model": "other/m"}}, {"model": "n"}, ("scripted", "n")),
        ({"generation": {"model": "other/"}}, {}, "model_selector_invalid"),
        ({"generation": {"model": "other/"}}, {"model": "n"}, ("scripted", "n")),
        ({"route_id": "scripted", "generation": {"model": "other/m"}}, {}, "route_selector_conflict"),
    ],
)
def test_a_policy_selects_models_as_a_run_does(policy: Any, body: Any, found: Any) -> None:
    make_session(route_policy=policy)
    make_route("other", default=False)
    answer = caller().post("/v1/sessions/desk/runs", {"content": "go", **body})
    run = answer.json()
    assert found == (code_of(answer) if answer.status_code == 400 else (run["route_id"], run["model"]))


@pytest.mark.parametrize("path", SUBMIT)
def test_what_is_too_large_is_413(path: str) -> None:
    make_session()
    client = caller()
    text = client.post(path, {"content": "x" * 1_048_577})
    assert (text.status_code, code_of(text)) == (413, "content_too_large")
    items = [{"type": "text", "text": "x" * 600_000}] * 2
    assert client.post(path, {"input_items": items}).status_code == 413
    metadata = client.post(path, {"content": "a", "metadata": {"a": "x" * 16_400}})
    assert (metadata.status_code, code_of(metadata)) == (413, "metadata_too_large")
    body = client.post(path, {"content": "x" * settings.KHEISH.max_body_bytes})
    assert (body.status_code, code_of(body)) == (413, "payload_too_large")


@pytest.mark.parametrize("path", SUBMIT)
def test_who_may_submit_and_where(path: str) -> None:
    make_session()
    assert stranger().post(path, {"content": "go"}).status_code == 401
    assert caller("viewer").post(path, {"content": "go"}).status_code == 403
    missing = caller().post(path.replace("desk", "nobody"), {"content": "go"})
    assert (missing.status_code, code_of(missing)) == (404, "session_not_found")
    route = caller().post(path, {"content": "go", "route_id": "nowhere"})
    assert (route.status_code, code_of(route)) == (404, "route_not_found")


def test_a_route_that_is_not_ready_makes_no_run() -> None:
    make_session()
    Route.objects.create(route_id="broken", driver="openai", model="m", auth_ref="missing")
    assert routes.readiness(Route.objects.get(route_id="broken"))
    answer = caller().post("/v1/sessions/desk/runs", {"content": "go", "route_id": "broken"})
    assert (answer.status_code, code_of(answer)) == (409, "route_not_ready")
    assert not Run.objects.exists()


def test_overrides_and_metadata_are_pinned() -> None:
    make_session()
    make_route("other", default=False)
    body = {
        "input_items": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
        "provider": "other",
        "model": "special",
        "generation": {"temperature": 0.2, "tool_choice": "auto", "max_output_tokens": None},
        "metadata": {"daemon_secret": 1, "mine": 2, "schedule_id": "s", "connector_ingress_key": "k"},
        "actor_id": "bot-7",
    }
    view = caller().post("/v1/sessions/desk/runs", body).json()
    assert (view["route_id"], view["model"], view["metadata"]) == ("other", "special", {"mine": 2})
    assert view["request"]["actor_id"] == "bot-7"
    run = Run.objects.get()
    assert run.generation == {"temperature": 0.2, "tool_choice": "auto"}
    assert run.input_message["content"] == "one\n\ntwo"


@pytest.mark.parametrize("member", ["kind", "requested_by", "daemon_metadata", "run_id"])
def test_a_client_says_nothing_of_what_the_runtime_knows(member: str) -> None:
    make_session()
    answer = caller().post("/v1/sessions/desk/runs", {"content": "x", member: "scheduled_input"})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ({"route_allow": ["other"]}, ["other"]),
        ({"route_deny": ["other"]}, ["scripted"]),
        ({"route_allow": ["*"], "route_deny": ["scripted"]}, ["other"]),
        ({"route_deny": ["*"]}, []),
        ({"connector_allow": ["alerts"]}, ["scripted", "other"]),
    ],
    ids=str,
)
def test_a_run_takes_no_route_that_its_session_may_not(scope: dict[str, Any], allowed: list[str]) -> None:
    client = caller("admin")
    make_route("scripted")
    make_route("other", default=False)
    Route.objects.filter(route_id="scripted").update(fallbacks=["other"])
    client.post("/v1/sessions", {"session_id": "narrow", "credential_scope": scope})
    for route_id in ("scripted", "other"):
        answer = client.post("/v1/sessions/narrow/runs", {"content": "go", "route_id": route_id})
        if route_id in allowed:
            assert answer.status_code == 202
        else:
            assert (answer.status_code, code_of(answer)) == (403, "route_out_of_scope")
    plain = client.post("/v1/sessions/narrow/input", {"content": "go"})
    assert plain.status_code == (202 if "scripted" in allowed else 403)
    taken = Run.objects.filter(route_id="scripted").values_list("fallbacks", flat=True)
    assert all(found == [name for name in ["other"] if name in allowed] for found in taken)


def test_waiting_runs_say_for_what() -> None:
    client = caller("viewer")
    run, approvals = ask_approvals(make_session("a"), 2)
    view = client.get(f"/v1/runs/{run.run_id}").json()
    ids = [approval.approval_id for approval in approvals]
    assert (view["status"], view["pending_approval_ids"]) == ("waiting_for_approval", ids)
    assert view["waiting_for"] == {
        "kind": "approval",
        "ids": ids,
        "summary": "bash: make deploy-0; bash: make deploy-1",
    }
    run, question = ask_question(make_session("q"))
    view = client.get(f"/v1/runs/{run.run_id}").json()
    assert view["waiting_for"] == {
        "kind": "question",
        "ids": [question.question_id],
        "summary": "Which cluster?",
    }
    run, decision = ask_decision(make_session("d"))
    view = client.get(f"/v1/runs/{run.run_id}").json()
    assert view["pending_decision_ids"] == [decision.decision_id]
    assert view["waiting_for"]["kind"] == "decision"
    assert "bash: make deploy" in view["waiting_for"]["summary"]


def test_a_finished_run_shows_outputs_usage_and_error() -> None:
    session = make_session()
    done = move(
        make_run(session), RunStatus.RUNNING, RunStatus.COMPLETED,
        outputs=[{"source_kind": "assistant_text", "content": "done", "parts": []}], input_tokens=7,
        output_tokens=3,
    )  # fmt: skip
    error = {"code": "turn_limit", "message": "too many turns"}
    failed = move(make_run(session), RunStatus.RUNNING, RunStatus.FAILED, error=error)
    client = caller("viewer")
    view = client.get(f"/v1/runs/{done.run_id}").json()
    assert view["outputs"][0]["content"] == "done"
    assert view["usage"] == {"input_tokens": 7, "output_tokens": 3}
    assert view["finished_at"].endswith("Z")
    assert client.get(f"/v1/runs/{failed.run_id}").json()["error"] == error


def test_list_filters() -> None:
    make_persona()
    make_route("other", default=False)
    one, two = make_session("one"), make_session("two", persona_id="reviewer")
    first = move(make_run(one), RunStatus.RUNNING, RunStatus.COMPLETED)
    second = move(make_run(one, route_id="other"), RunStatus.RUNNING)
    third = make_run(two, kind="scheduled_input")
    fourth = make_run(one)
    client = caller("viewer")

    def ids(query: str) -> list[str]:
        answer = client.get(f"/v1/runs?{query}")
        assert answer.status_code == 200, answer.content
        return [item["run_id"] for item in answer.json()["items"]]

    assert ids("") == [fourth.run_id, third.run_id, second.run_id, first.run_id]
    assert ids("session_id=two") == [third.run_id]
    assert ids("session_id=nobody") == []
    assert ids("status=running") == [second.run_id]
    assert ids("status=running&status=completed") == [second.run_id, first.run_id]
    assert ids("kind=scheduled_input") == [third.run_id]
    assert ids("route_id=other") == [second.run_id]
    assert ids("persona_id=reviewer") == [third.run_id]
    assert ids("priority_active=true") == [second.run_id, fourth.run_id, third.run_id, first.run_id]
    assert ids("priority_active=false") == ids("")


@pytest.mark.parametrize("priority", ["", "&priority_active=true"])
def test_pages_hold_every_run_once(priority: str) -> None:
    session = make_session()
    made = [make_run(session).run_id for _ in range(7)]
    client, seen, cursor = caller("viewer"), [], ""
    while cursor is not None and len(seen) < 20:
        address = f"/v1/runs?limit=3{priority}" + (f"&cursor={cursor}" if cursor else "")
        page = client.get(address).json()
        assert page["pagination"]["total_count"] == 7
        seen += [item["run_id"] for item in page["items"]]
        cursor = page["pagination"]["next_cursor"]
        if cursor is not None:
            elsewhere = client.get(f"/v1/sessions?cursor={cursor}")
            assert (elsewhere.status_code, code_of(elsewhere)) == (400, "invalid_cursor")
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=asleep", "invalid_request"),
        ("priority_active=maybe", "invalid_request"),
        ("nothing=1", "invalid_request"),
        ("limit=0", "invalid_limit"),
        ("cursor=%00", "invalid_request"),
        ("cursor=MQ==x", "invalid_cursor"),
        ("cursor=InRleHQi", "invalid_cursor"),
    ],
)
def test_a_bad_query_is_400(query: str, code: str) -> None:
    answer = caller("viewer").get(f"/v1/runs?{query}")
    assert (answer.status_code, code_of(answer)) == (400, code)


def test_reading_needs_a_signature_and_a_run() -> None:
    run = make_run(make_session())
    for path in ("/v1/runs", f"/v1/runs/{run.run_id}", f"/v1/runs/{run.run_id}/events"):
        assert stranger().get(path).status_code == 401
        assert caller("viewer").get(path).status_code == 200
    answer = caller("viewer").get("/v1/runs/run_nobody")
    assert (answer.status_code, code_of(answer)) == (404, "run_not_found")


def test_cancel_settles_once() -> None:
    session = make_session()
    run, approvals = ask_approvals(session)
    client = caller(name="ann")
    path = f"/v1/runs/{run.run_id}/cancel"
    first = client.post(path, {"reason": "not needed"})
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert client.post(path, {}).json() == first.json()
    assert session.entries.filter(kind="run.cancelled").count() == 1
    assert client.get(f"/v1/approvals/{approvals[0].approval_id}").json()["status"] == "cancelled"


def test_cancelling_a_running_run_asks_its_worker() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    view = caller().post(f"/v1/runs/{run.run_id}/cancel", {}).json()
    assert (view["status"], view["stop_requested"]) == ("running", "cancelled")


def test_cancelling_what_ended_otherwise_is_409() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING, RunStatus.COMPLETED)
    path = f"/v1/runs/{run.run_id}/cancel"
    answer = caller().post(path, {})
    assert (answer.status_code, code_of(answer)) == (409, "run_state_conflict")
    assert answer.json()["run_status"] == "completed"
    assert caller("viewer").post(path, {}).status_code == 403
    assert stranger().post(path, {}).status_code == 401
    assert caller().post("/v1/runs/run_nobody/cancel", {}).status_code == 404
    assert caller().post(path, {"why": "x"}).status_code == 400


def test_a_run_that_ended_is_retried() -> None:
    make_session()
    make_route("other", default=False)
    make_route("m", default=False)
    client = caller(name="ann")
    asset = make_asset()
    body = {
        "input_items": [
            {"type": "text", "text": "look"},
            {"type": "asset_reference", "asset_id": asset.asset_id},
        ],
        "model": "other/m/1",
        "generation": {"temperature": 0.5},
        "metadata": {"ticket": "7"},
    }
    old = Run.objects.get(run_id=client.post(SUBMIT[0], body).json()["run_id"])
    path = f"/v1/runs/{old.run_id}/retry"
    live = client.post(path, {})
    assert (live.status_code, code_of(live), live.json()["run_status"]) == (
        409,
        "run_state_conflict",
        "queued",
    )
    client.post(f"/v1/runs/{old.run_id}/cancel", {})
    answer = client.post(path, {}, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer["Location"]) == (202, f"/v1/runs/{answer.json()['run_id']}")
    assert client.post(path, {}, headers={"Idempotency-Key": "k"}).json() == answer.json()
    new = Run.objects.exclude(pk=old.pk).get()
    for name in ("session_id", "input_items", "input_message", "route_id", "model", "generation"):
        assert getattr(new, name) == getattr(old, name), name
    assert new.metadata == {"ticket": "7", "again_of": old.run_id}
    assert (new.status, new.requested_by, new.actor_id) == ("queued", "ann", "ann")
    client.post(f"/v1/runs/{new.run_id}/cancel", {})
    other = client.post(path, {"content": "look again"}).json()
    assert Run.objects.get(run_id=other["run_id"]).input_items == [{"type": "text", "text": "look again"}]


def test_who_may_retry_what() -> None:
    session = make_session()
    run = move(make_run(session), RunStatus.RUNNING, RunStatus.COMPLETED)
    path = f"/v1/runs/{run.run_id}/retry"
    assert stranger().post(path, {}).status_code == 401
    assert caller("viewer").post(path, {}).status_code == 403
    assert caller().post("/v1/runs/run_nobody/retry", {}).status_code == 404
    for wrong in ({"why": "x"}, {"content": 1}, {"content": " "}, {"content": ""}):
        assert caller().post(path, wrong).status_code == 400
    assert caller().post(path, {"content": "x" * 1_048_577}).status_code == 413
    caller("admin").post("/v1/sessions/desk/credential-scope", {"credential_scope": {"route_deny": ["*"]}})
    narrowed = caller().post(path, {})
    assert (narrowed.status_code, code_of(narrowed)) == (403, "route_out_of_scope")
    caller().post("/v1/sessions/desk/end", {})
    ended = caller().post(path, {})
    assert (ended.status_code, code_of(ended)) == (409, "session_ended")
    assert Run.objects.count() == 1


def test_a_run_says_where_its_answers_go_whatever_the_session_says_later() -> None:
    make_session()
    client, path = caller("admin"), "/v1/sessions/desk/reply-targets"
    first = {"plugin": "http", "address": {"url": "https://example.com/hook?key=s", "headers": {"A": "b"}}}
    client.put(path, {"reply_targets": [first]}, headers={"If-Match": "*"})
    run_id = client.post("/v1/sessions/desk/runs", {"content": "go"}).json()["run_id"]
    client.delete(path, headers={"If-Match": "*"})
    (shown,) = client.get(f"/v1/runs/{run_id}").json()["reply_targets"]
    assert shown["plugin"] == "http" and shown["address"]["headers"] == {"a": MASK}
    assert "key=s" not in str(shown) and shown["address"]["url"].startswith("https://example.com/hook")
    assert client.post("/v1/sessions/desk/runs", {"content": "go"}).json()["reply_targets"] == []


@pytest.mark.django_db(transaction=True)
def test_targets_under_a_foreign_name_are_adopted_in_the_same_commit() -> None:
    """Whoever calls itself a connector is believed that much; nothing may be left half done."""
    make_session()
    target = {"plugin": "daemon", "address": {"session_id": "desk"}}
    answer = caller().post(
        "/v1/sessions/desk/runs", {"content": "x", "source_plugin": "bridge", "reply_targets": [target]}
    )
    assert answer.status_code == 202, answer.content
    assert Session.objects.get(session_id="desk").reply_targets == [target]
