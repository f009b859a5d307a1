"""The page of a session: its talk, its queue, its scopes, and input from a person."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app.admin import addresses
from sessions_app.admin.session_page import scope_of
from sessions_app.engine import loop
from sessions_app.models import Run, Session
from sessions_app.services import grants, scopes
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.principal import Principal
from tests.factories import make_persona, make_route, make_run, make_session
from tests.sessions_app.admin.conftest import Desk, call, drive, waiting_approval
from tests.sessions_app.admin.test_masks import shown

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(session: Session) -> str:
    return addresses.of(session)


def do(session: Session, verb: str) -> str:
    return addresses.of_verb(session, verb)


def test_the_talk_folds_the_work_between(desk: Desk) -> None:
    run = drive(
        {
            "text": "I look.",
            "tool_calls": [call("glob_search", pattern="*"), call("glob_search", pattern="a")],
        },
        {"text": "Nothing there."},
    )
    page = desk("viewer").get(page_of(run.session)).content.decode()
    places = [page.index(words) for words in (">go<", "I look.", "2 tool calls", "Nothing there.")]
    assert places == sorted(places)
    assert 'placeholder="Say something' not in page  # viewers only look
    assert "ask for the group operator" in page or "Verify journal" in page


def test_a_queue_shows_who_waits_for_what(desk: Desk) -> None:
    approval = waiting_approval()
    behind = make_run(approval.session, "and then this")
    page = desk("operator").get(page_of(approval.session)).content.decode()
    queue = page[page.index('data-part="queue"') :]
    assert reverse("admin:console_inbox_item", args=[approval.approval_id]) in queue
    assert addresses.of(behind) in queue


def test_input_is_accepted_and_waits_its_turn(desk: Desk) -> None:
    make_route(default=True)
    session = make_session("fresh")
    client = desk("operator")
    assert "Nothing said yet" in client.get(page_of(session)).content.decode()
    answer = client.post(do(session, "say"), {"confirmed": "yes", "content": "Say hello"}, follow=True)
    assert answer.redirect_chain[-1][0] == page_of(session)
    run = Run.objects.get(session=session)
    assert (run.source_kind, run.actor_id, run.requested_by) == ("console", "operator", "operator")
    assert desk("viewer").post(do(session, "say"), {"confirmed": "yes", "content": "x"}).status_code == 403


def test_a_grant_is_shown_and_taken_back_by_operators(desk: Desk) -> None:
    session = make_session("granted")
    ada = Principal(name="ada", role="admin", auth_method="token")
    grants.give("granted", "web_fetch", principal=ada, reason="reads docs")
    client = desk("operator")
    page = client.get(page_of(session)).content.decode()
    assert "web_fetch, by ada: reads docs" in page and do(session, "take-back") in page
    assert do(session, "take-back") not in desk("viewer").get(page_of(session)).content.decode()
    told = {"confirmed": "yes", "tool_name": "bash", "reason": ""}
    assert "Select a valid choice" in client.post(do(session, "take-back"), told).content.decode()
    answer = client.post(do(session, "take-back"), {**told, "tool_name": "web_fetch"}, follow=True)
    assert "Taken back: web_fetch asks again." in answer.content.decode()
    session.refresh_from_db()
    assert grants.of(session) == []
    assert do(session, "take-back") not in client.get(page_of(session)).content.decode()


def test_a_session_is_made_and_gets_a_persona_while_it_is_idle(desk: Desk) -> None:
    make_persona()
    client = desk("operator")
    new = reverse("admin:sessions_app_session_new", args=["session"])
    client.post(new, {"confirmed": "yes", "session_id": "made-here", "persona_id": ""})
    session = Session.objects.get(session_id="made-here")
    client.post(do(session, "persona"), {"confirmed": "yes", "persona_id": "reviewer"})
    session.refresh_from_db()
    assert session.persona is not None and session.created_by == "operator"
    make_run(session)
    refused = client.post(do(session, "persona"), {"confirmed": "yes", "persona_id": ""})
    assert "Refused" in refused.content.decode()


def test_effective_scopes_are_said_beside_the_own_ones(desk: Desk) -> None:
    make_persona("narrow", capability_scope={"skill_allow": ["git", "search"], "mcp_tool_deny": ["x"]})
    session = make_session("scoped", persona_id="narrow", capability_scope={"skill_allow": ["git", "deploy"]})
    page = desk("viewer").get(page_of(session)).content.decode()
    row = page[page.index("skill allow") :][:400]
    assert "deploy, git" in row or "git, deploy" in row
    assert "<s>deploy, search</s>" in row


def test_connectors_listed_without_credentials_are_shown_to_have_none(desk: Desk) -> None:
    session = make_session("listed", credential_scope={"connector_allow": ["ops"]})
    page = desk("viewer").get(page_of(session)).content.decode()
    row = page[page.index("connector credential deny") :][:200]
    assert "<td>*</td>" in row


@pytest.mark.parametrize(
    ("verb", "member", "wide", "narrow"),
    [
        ("capability-scope", "capability_scope", {"skill_allow": ["a", "b"]}, {"skill_allow": ["a"]}),
        ("credential-scope", "credential_scope", {"route_deny": ["a"]}, {"route_deny": ["a", "b"]}),
    ],
)
def test_operators_narrow_scopes_and_admins_widen_them(
    desk: Desk, verb: str, member: str, wide: Any, narrow: Any
) -> None:
    session = make_session("scoped", **{member: wide})
    operator, admin, url = desk("operator"), desk("admin"), do(session, verb)

    def change(client: Client, scope: Any) -> str:
        sent = {**shown(client, url), "confirmed": "yes", "scope": json.dumps(scope)}
        return client.post(url, sent, follow=True).content.decode()

    assert url in operator.get(page_of(session)).content.decode()
    assert desk("viewer").post(url, {"confirmed": "yes"}).status_code == 403
    assert " scope changed." in change(operator, narrow)
    assert "scope_widening_forbidden" in change(operator, wide)
    assert "invalid_scope" in change(operator, {"nothing": []})
    for odd in ("\ud800", "\0", "\u202e", "x" * 301):
        assert "invalid_scope" in change(operator, {"skill_deny": [odd]})
    session.refresh_from_db()
    assert getattr(session, member) == narrow
    assert " scope changed." in change(admin, wide)
    make_run(session)
    assert "session_busy" in change(admin, {})
    session.refresh_from_db()
    assert getattr(session, member) == wide


@pytest.mark.parametrize(
    ("name", "own", "persona", "effective", "lost"),
    [
        ("skill_allow", ["a", "b"], ["b", "c"], ["b"], ["a", "c"]),
        ("skill_allow", ["*"], ["b"], ["b"], []),
        ("skill_allow", [], ["b"], ["b"], []),
        ("skill_deny", ["a"], ["b"], ["a", "b"], []),
        ("skill_deny", ["a"], ["*"], ["*"], []),
        ("skill_allow", ["a"], ["b"], [], ["a", "b"]),
    ],
)
def test_what_comes_of_two_lists(
    name: str, own: list[str], persona: list[str], effective: list[str], lost: list[str]
) -> None:
    found = scopes.effective_capabilities({name: own}, {name: persona}).get(name, [])
    assert (found, list(scope_of(name, own, persona, found).lost)) == (effective, lost)


def test_it_costs_the_same_however_much_was_said(desk: Desk) -> None:
    turns = ({"text": "I look.", "tool_calls": [call("glob_search", pattern="*")]}, {"text": "So."})
    run, client, costs = drive(*turns), desk("viewer"), []
    for _ in range(2):
        client.get(page_of(run.session))
        with CaptureQueriesContext(connection) as captured:
            client.get(page_of(run.session))
        costs.append(len(captured))
        for _ in range(3):
            make_run(run.session, route_id=run.route_id)
            loop.drive(run.session_id, Heartbeat("worker-1"))
    assert costs[0] == costs[1] <= 30, costs
