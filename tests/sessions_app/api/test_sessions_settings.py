"""The settings of a session: seen before they are replaced, journalled, for future runs only."""

from typing import Any

import pytest

from kheish_site.lib.errors import PreconditionFailed
from sessions_app.models import JournalEntry
from sessions_app.services import sessions
from tests.factories import code_of
from tests.sessions_app.api.rows import (
    caller,
    make_persona,
    make_route,
    make_run,
    make_session,
    stranger,
)

pytestmark = pytest.mark.django_db

RULES = [{"tool_name_pattern": "bash", "behavior": "ask", "required_votes": 2}]
SETTINGS: list[tuple[str, str, Any, Any]] = [
    ("route-policy", "route_policy", {"route_id": "scripted", "generation": {"temperature": 0.5}}, {}),
    ("permission-mode", "permission_mode", "plan", None),
    ("permission-rules", "permission_rules", RULES, []),
    ("unknown-effects", "unknown_effects", "tell", "ask"),
    ("capability-scope", "capability_scope", {"skill_allow": ["git"], "mcp_tool_deny": ["*"]}, {}),
    ("credential-scope", "credential_scope", {"connector_allow": ["ops"], "route_deny": ["main"]}, {}),
]


@pytest.mark.parametrize(("path", "member", "value", "cleared"), SETTINGS)
def test_replace_and_clear(path: str, member: str, value: Any, cleared: Any) -> None:
    session = make_session()
    client, address = caller("admin"), f"/v1/sessions/desk/{path}"
    seen = client.get(address)
    assert (seen.status_code, seen["ETag"], seen.json()) == (200, '"1"', {member: cleared})
    put = client.put(address, {member: value}, headers={"If-Match": seen["ETag"]})
    assert put.status_code == 200, put.content
    assert (put["ETag"], put.json()[member], put.json()["revision"]) == ('"2"', value, 2)
    stale = client.put(address, {member: value}, headers={"If-Match": seen["ETag"]})
    assert (stale.status_code, code_of(stale)) == (412, "precondition_failed")
    assert stale.json()["current_revision"] == 2
    blind = client.put(address, {member: value})
    assert (blind.status_code, code_of(blind)) == (428, "precondition_required")
    gone = client.delete(address, headers={"If-Match": "*"})
    assert (gone.status_code, gone.json()[member], gone["ETag"]) == (200, cleared, '"3"')
    assert client.delete(address).status_code == 428
    entries = JournalEntry.objects.filter(session=session, kind="session.updated")
    assert [entry.payload[member]["to"] for entry in entries] == [
        value,
        cleared or ("" if cleared is None else cleared),
    ]


def test_a_change_that_came_between_is_refused_as_a_stale_tag_is() -> None:
    make_session()
    sessions.set_unknown_effects("desk", "tell", principal="first", expected_revision=1)
    with pytest.raises(PreconditionFailed) as refused:
        sessions.set_unknown_effects("desk", "ask", principal="second", expected_revision=1)
    assert refused.value.extra == {"current_revision": 2}


@pytest.mark.parametrize(("path", "member", "value", "cleared"), SETTINGS)
def test_post_overwrites_and_repeats(path: str, member: str, value: Any, cleared: Any) -> None:
    make_session()
    client, address = caller("admin"), f"/v1/sessions/desk/{path}"
    for _ in range(2):
        answer = client.post(address, {member: value}, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()[member], answer["ETag"]) == (200, value, '"2"')
    assert client.post(address, {member: value}, headers={"If-Match": '"1"'}).status_code == 412
    assert client.post(address, {member: value, "more": 1}).status_code == 400
    assert client.post(address, {}).status_code == 400
    assert client.post(f"/v1/sessions/nobody/{path}", {member: value}).status_code == 404


@pytest.mark.parametrize(("path", "member", "value", "cleared"), SETTINGS)
def test_viewers_only_look(path: str, member: str, value: Any, cleared: Any) -> None:
    make_session()
    address, match = f"/v1/sessions/desk/{path}", {"If-Match": "*"}
    assert stranger().get(address).status_code == 401
    viewer = caller("viewer")
    assert viewer.get(address).status_code == 200
    assert viewer.put(address, {member: value}, headers=match).status_code == 403
    assert viewer.post(address, {member: value}).status_code == 403
    assert viewer.delete(address, headers=match).status_code == 403


def test_an_operator_cannot_loosen_what_an_admin_set() -> None:
    make_session(permission_rules=RULES)
    operator = caller()
    for body in ({"permission_rules": []}, {"permission_rules": RULES}):
        answer = operator.post("/v1/sessions/desk/permission-rules", body)
        assert (answer.status_code, code_of(answer)) == (403, "permission_setting_forbidden")
    assert operator.delete("/v1/sessions/desk/permission-rules", headers={"If-Match": "*"}).status_code == 403
    mode = operator.post("/v1/sessions/desk/permission-mode", {"permission_mode": "bypassPermissions"})
    assert (mode.status_code, code_of(mode)) == (403, "permission_setting_forbidden")
    assert (
        operator.post("/v1/sessions/desk/permission-mode", {"permission_mode": "dontAsk"}).status_code == 200
    )


def test_an_operator_cannot_loosen_by_going_back_to_a_loose_default() -> None:
    make_session(permission_mode="default")
    operator, address = caller(), "/v1/sessions/desk/permission-mode"
    assert operator.post(address, {"permission_mode": None}).status_code == 200
    operator.post(address, {"permission_mode": "dontAsk"})
    assert caller("admin").post("/v1/runtime/permission-mode", {"mode": "acceptEdits"}).status_code == 200
    answer = operator.post(address, {"permission_mode": None})
    assert (answer.status_code, code_of(answer)) == (403, "permission_setting_forbidden")
    assert operator.delete(address, headers={"If-Match": "*"}).status_code == 403
    assert operator.post(address, {"permission_mode": "plan"}).status_code == 200
    assert caller("admin").delete(address, headers={"If-Match": "*"}).status_code == 200


def test_a_persona_is_bound_to_an_idle_session() -> None:
    make_persona()
    make_session()
    client = caller()
    bound = client.put("/v1/sessions/desk/persona", {"persona_id": "reviewer"}, headers={"If-Match": '"1"'})
    assert bound.json()["persona"]["persona_id"] == "reviewer"
    assert client.get("/v1/sessions/desk/persona").json() == {"persona_id": "reviewer"}
    assert client.post("/v1/sessions/desk/persona", {"persona_id": "nobody"}).status_code == 404
    assert "persona" not in client.delete("/v1/sessions/desk/persona", headers={"If-Match": "*"}).json()
    assert client.get("/v1/sessions/desk/persona").json() == {"persona_id": None}
    client.post("/v1/sessions/desk/runs", {"content": "go"})
    busy = client.post("/v1/sessions/desk/persona", {"persona_id": "reviewer"})
    assert (busy.status_code, code_of(busy)) == (409, "session_busy")


def test_a_created_run_keeps_its_route_and_mode() -> None:
    session = make_session()
    make_route("other", default=False)
    before = make_run(session)
    client = caller("admin")
    client.post("/v1/sessions/desk/route-policy", {"route_policy": {"provider": "other"}})
    client.post("/v1/sessions/desk/permission-mode", {"permission_mode": "plan"})
    after = client.post("/v1/sessions/desk/runs", {"content": "more"}).json()
    assert (after["route_id"], after["permission_mode"]) == ("other", "plan")
    kept = client.get(f"/v1/runs/{before.run_id}").json()
    assert (kept["route_id"], kept["permission_mode"]) == ("scripted", "default")
