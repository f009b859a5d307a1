"""The scopes of a session after its creation: operators narrow, admins widen, and only while it is idle."""

from typing import Any

import pytest

from sessions_app.models import JournalEntry, Session
from tests.factories import code_of, make_persona
from tests.sessions_app.api.rows import caller, make_run, make_session

pytestmark = pytest.mark.django_db
ANY = {"If-Match": "*"}
BOTH = [
    ("capability-scope", "capability_scope", {"skill_allow": ["a", "b"]}, {"skill_allow": ["a"]}),
    (
        "credential-scope",
        "credential_scope",
        {"route_allow": ["main", "scripted"]},
        {"route_allow": ["main"]},
    ),
]
each = pytest.mark.parametrize(("path", "member", "wide", "narrow"), BOTH)


@each
def test_an_operator_narrows_and_only_an_admin_widens(path: str, member: str, wide: Any, narrow: Any) -> None:
    make_session()
    address, operator = f"/v1/sessions/desk/{path}", caller()
    for scope in (wide, narrow, narrow):
        answer = operator.put(address, {member: scope}, headers=ANY)
        assert (answer.status_code, answer.json()[member]) == (200, scope)
        assert answer.json()[f"effective_{member}"] == scope
    for refused in (
        operator.put(address, {member: wide}, headers=ANY),
        operator.post(address, {member: None}),
        operator.delete(address, headers=ANY),
    ):
        assert (refused.status_code, code_of(refused)) == (403, "scope_widening_forbidden")
    session = Session.objects.get()
    assert (getattr(session, member), session.revision) == (narrow, 4)
    assert caller("admin").put(address, {member: wide}, headers=ANY).json()[member] == wide
    assert caller("admin").delete(address, headers=ANY).json()[member] == {}


@each
def test_a_scope_is_kept_in_its_normal_form(path: str, member: str, wide: Any, narrow: Any) -> None:
    make_session()
    ((name, names),) = wide.items()
    said = {member: {name: [f" {names[1]} ", names[0], names[0]]}}
    assert caller().post(f"/v1/sessions/desk/{path}", said).json()[member] == wide
    for wrong in ({"skills": []}, [], "*", {name: "a"}):
        answer = caller().post(f"/v1/sessions/desk/{path}", {member: wrong})
        assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


@each
def test_a_scope_changes_only_while_nothing_runs_or_waits(
    path: str, member: str, wide: Any, narrow: Any
) -> None:
    session = make_session()
    run, address = make_run(session), f"/v1/sessions/desk/{path}"
    admin = caller("admin")
    for busy in (
        admin.put(address, {member: narrow}, headers=ANY),
        admin.post(address, {member: narrow}),
        admin.delete(address, headers=ANY),
    ):
        assert (busy.status_code, code_of(busy)) == (409, "session_busy")
    assert not JournalEntry.objects.filter(kind="session.updated").exists()
    assert admin.post(f"/v1/runs/{run.run_id}/cancel", {}).status_code == 200
    assert admin.post(address, {member: narrow}).status_code == 200


def test_what_a_persona_keeps_hidden_counts_for_it_may_be_exchanged() -> None:
    make_persona(capability_scope={"skill_allow": ["a", "b"]})
    make_session(persona_id="reviewer", capability_scope={"skill_allow": ["a"]})
    operator, address = caller(), "/v1/sessions/desk/capability-scope"
    for names in (["a", "z"], ["a", "b"], ["z"]):
        refused = operator.post(address, {"capability_scope": {"skill_allow": names}})
        assert (refused.status_code, code_of(refused)) == (403, "scope_widening_forbidden")
    answer = caller("admin").post(address, {"capability_scope": {"skill_allow": ["a", "z"]}})
    assert answer.json()["effective_capability_scope"] == {"skill_allow": ["a"]}
    hidden = operator.post(address, {"capability_scope": {"skill_allow": ["z"]}})
    assert hidden.json()["effective_capability_scope"] == {"skill_deny": ["*"]}
    assert operator.get("/v1/sessions").json()["items"][0]["effective_capability_scope"] == {
        "skill_deny": ["*"]
    }


def test_runs_to_come_are_held_to_the_new_scope() -> None:
    session = make_session()
    make_run(session)
    client = caller("admin")
    client.post("/v1/sessions/desk/interrupt", {})
    for run in client.get("/v1/runs").json()["items"]:
        client.post(f"/v1/runs/{run['run_id']}/cancel", {})
    scope = {"credential_scope": {"route_deny": ["*"]}}
    assert client.post("/v1/sessions/desk/credential-scope", scope).status_code == 200
    refused = client.post("/v1/sessions/desk/runs", {"content": "go"})
    assert (refused.status_code, code_of(refused)) == (403, "route_out_of_scope")
