"""Verbs: what each does, for whom, and what it says."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from kheish_site.lib.redaction import MASK
from sessions_app.admin import addresses
from sessions_app.models import (
    ApiToken,
    Approval,
    OperatorDecision,
    Persona,
    Route,
    Run,
    RuntimeRevision,
    SecretSlot,
    Session,
    UserQuestion,
)
from sessions_app.services import approvals, journal
from sessions_app.services.approvals import Vote
from sessions_app.services.principal import SYSTEM
from tests.factories import make_persona, make_route, make_run, make_secret, make_session
from tests.sessions_app.admin.conftest import (
    Desk,
    drive,
    waiting_approval,
    waiting_decision,
    waiting_question,
)

pytestmark = pytest.mark.django_db(transaction=True)


def list_url(row: Any) -> str:
    return reverse(f"admin:sessions_app_{row._meta.model_name}_changelist")


def verb_url(row: Any, verb: str) -> str:
    return addresses.of_verb(row, verb)


def new_url(model: Any, verb: str) -> str:
    return reverse(f"admin:sessions_app_{model._meta.model_name}_new", args=[verb])


def said(answer: Any) -> str:
    return " | ".join(str(message) for message in get_messages(answer.wsgi_request))


def on_many(client: Client, rows: list[Any], verb: str, **fields: str) -> str:
    """Choose rows and an action in the list, look at the page that asks, and confirm it."""
    chosen = {"action": verb, "_selected_action": [row.pk for row in rows]}
    asked = client.post(list_url(rows[0]), {**chosen, "index": "0"})
    assert asked.status_code == 200, said(asked)
    seals = {f"seen-{pk}": seal for pk, seal in asked.context["seen"].items() if seal}
    return said(client.post(list_url(rows[0]), {**chosen, **seals, "confirmed": "yes", **fields}))


def do(client: Client, row: Any, verb: str, **fields: Any) -> Any:
    seal = {f"seen-{row.pk}": row.digest} if isinstance(row, Approval) else {}
    if verb in ("revise", "change"):
        seal = {"revision": getattr(row, "current", 0) or row.revision}
    return client.post(verb_url(row, verb), {"confirmed": "yes", **seal, **fields})


def test_many_rows_each_in_their_own_way(desk: Desk) -> None:
    rows = [waiting_approval(f"s-{number}") for number in range(4)]
    cancelled = rows.pop()
    client = desk("operator")
    chosen = {"action": "allow", "_selected_action": [row.pk for row in [*rows, cancelled]]}
    asked = client.post(list_url(cancelled), {**chosen, "index": "0"})
    assert asked.content.decode().count("echo hello") >= 4
    do(desk("admin"), cancelled.run, "cancel", reason="no longer")
    seals = {f"seen-{pk}": seal for pk, seal in asked.context["seen"].items()}
    words = said(
        client.post(list_url(cancelled), {**chosen, **seals, "confirmed": "yes", "reason": "looks right"})
    )
    assert words == "3 approved, 1 refused: already cancelled"
    for row in rows:
        row.refresh_from_db()
        vote = row.votes.get()
        assert (row.status, vote.principal, vote.auth_method) == ("allowed", "operator", "session")
        assert (vote.justification, vote.remote_addr) == ("looks right", "127.0.0.1")
        assert Run.objects.get(pk=row.run_id).status == "queued"
        assert journal.verify(row.session).whole


def test_nothing_happens_before_it_is_confirmed(desk: Desk) -> None:
    row = waiting_approval()
    client = desk("operator")
    client.post(list_url(row), {"action": "deny", "_selected_action": [row.pk], "index": "0"})
    client.get(verb_url(row, "deny"))
    client.post(verb_url(row, "deny"), {"reason": "not confirmed"})
    row.refresh_from_db()
    assert row.status == "pending"


def test_denying_tells_the_agent_why(desk: Desk) -> None:
    row = waiting_approval()
    assert on_many(desk("operator"), [row], "deny", reason="not on a Friday") == "1 denied"
    row.refresh_from_db()
    assert row.status == "denied"
    row.tool_call.refresh_from_db()
    assert row.tool_call.content == "denied: not on a Friday"


def test_a_call_that_was_edited_meanwhile_is_not_approved(desk: Desk) -> None:
    row = waiting_approval()
    Approval.objects.filter(pk=row.pk).update(required_votes=2)
    client = desk("operator")
    seen = client.get(verb_url(row, "allow")).context["seen"][row.pk]
    edited = Vote(behavior="allow", updated_input={"command": "echo other"})
    approvals.resolve(row.approval_id, edited, principal=SYSTEM)
    answer = do(client, row, "allow", **{f"seen-{row.pk}": seen})
    assert "edited since you looked" in answer.content.decode()
    row.refresh_from_db()
    assert (row.status, row.votes.filter(voided_at=None).count()) == ("pending", 1)


def test_one_of_two_votes_is_counted_and_said(desk: Desk) -> None:
    row = waiting_approval()
    Approval.objects.filter(pk=row.pk).update(required_votes=2)
    assert on_many(desk("operator"), [row], "allow") == "1 counted (1 of 2 votes)"
    assert on_many(desk("admin"), [row], "allow") == "1 approved"


def test_editing_shows_the_difference_before_it_is_sent(desk: Desk) -> None:
    row = waiting_approval(command="echo hello")
    client = desk("operator")
    changed = '{"command": "echo goodbye"}'
    first = do(client, row, "edit", arguments=changed)
    page = first.content.decode()
    assert "-  &quot;command&quot;: &quot;echo hello&quot;" in page
    assert "+  &quot;command&quot;: &quot;echo goodbye&quot;" in page
    row.refresh_from_db()
    assert row.status == "pending"
    do(client, row, "edit", arguments=changed, reviewed=first.context["form"]["reviewed"].value())
    row.refresh_from_db()
    assert (row.status, row.arguments) == ("allowed", {"command": "echo goodbye"})


def test_editing_keeps_masked_values_and_refuses_bad_json(desk: Desk) -> None:
    row = waiting_approval(command="curl -H 'Authorization: Bearer abcdefgh12345678' example.test")
    client = desk("operator")
    page = client.get(verb_url(row, "edit")).content.decode()
    assert "abcdefgh12345678" not in page and MASK in page
    assert "not JSON" in do(client, row, "edit", arguments="{").content.decode()
    bad = '{"command": 5}'
    first = do(client, row, "edit", arguments=bad)
    again = do(client, row, "edit", arguments=bad, reviewed=first.context["form"]["reviewed"].value())
    assert "does not fit the tool" in again.content.decode()


@pytest.mark.parametrize(
    ("outcome", "words", "status", "state"),
    [
        ("happened", "1 settled as happened", "queued", "reconciled"),
        ("not_happened", "1 sent to run again", "queued", "planned"),
        ("tell_agent", "1 handed to the agent", "queued", "reconciled"),
        ("give_up", "1 given up", "failed", "reconciled"),
    ],
)
def test_decisions_have_four_outcomes(desk: Desk, outcome: str, words: str, status: str, state: str) -> None:
    row = waiting_decision()
    assert on_many(desk("operator"), [row], outcome, note="looked at the server") == words
    row.refresh_from_db()
    assert (row.outcome, row.note, row.resolved_by) == (outcome, "looked at the server", "operator")
    assert Run.objects.get(pk=row.run_id).status == status
    row.tool_call.refresh_from_db()
    assert row.tool_call.state == state


def test_a_question_is_answered_as_a_whole(desk: Desk) -> None:
    row = waiting_question()
    client = desk("operator")
    half = do(client, row, "answer", choice_0="option-2")
    assert "select an option or write an answer" in half.content.decode()
    do(client, row, "answer", choice_0="option-2", choice_1=["option-1"], text_1="and a look")
    row.refresh_from_db()
    assert row.status == "answered"
    assert [answer["selected_option_ids"] for answer in row.answers] == [["option-2"], ["option-1"]]
    assert row.answers[1]["freeform_answer"] == "and a look"


def test_a_question_can_be_declined_or_dropped(desk: Desk) -> None:
    declined, dropped = waiting_question("one"), waiting_question("two")
    client = desk("operator")
    assert on_many(client, [declined], "decline", reason="ask the owner") == "1 declined"
    do(client, dropped, "dismiss")
    assert UserQuestion.objects.get(pk=declined.pk).status == "declined"
    assert Run.objects.get(pk=dropped.run_id).status == "cancelled"


def test_runs_are_cancelled_and_sessions_ended(desk: Desk) -> None:
    session = make_session("queue")
    waiting, queued = waiting_approval().run, make_run(session)
    client = desk("operator")
    assert on_many(client, [waiting, queued], "cancel", reason="enough") == "2 cancelled"
    assert on_many(client, [waiting], "cancel") == "1 cancelled"  # the same again changes nothing
    ended = drive({"text": "over"}, session_id="over")
    assert on_many(client, [ended], "cancel") == "1 refused: the run is already completed"
    assert on_many(client, [session], "end", reason="all done") == "1 ended"
    assert Session.objects.get(pk=session.pk).ended_at is not None
    busy = waiting_approval("busy").session
    assert "has active or queued runs" in on_many(client, [busy], "end")
    assert on_many(client, [busy], "interrupt") == "1 interrupted"


def test_a_journal_is_verified_by_anybody_who_may_look(desk: Desk) -> None:
    session = waiting_approval().session
    answer = desk("viewer").post(verb_url(session, "verify"), {"confirmed": "yes"}, follow=True)
    assert "Whole, " in answer.content.decode()


@pytest.mark.parametrize("group", ["viewer", ""])
def test_who_may_only_look_is_refused_and_sees_no_button(desk: Desk, group: str) -> None:
    approval, question, decision = waiting_approval(), waiting_question(), waiting_decision()
    client = desk(group)
    for row, verb in (
        (approval, "allow"),
        (question, "answer"),
        (decision, "give_up"),
        (approval.run, "cancel"),
        (approval.session, "end"),
    ):
        assert client.post(verb_url(row, verb), {"confirmed": "yes"}).status_code == 403
        page = client.get(verb_url(row, verb).replace(f"do/{verb}", "change"))
        assert verb_url(row, verb) not in page.content.decode()
        client.post(list_url(row), {"action": verb, "_selected_action": [row.pk], "confirmed": "yes"})
        row.refresh_from_db()
    assert (approval.status, question.status, decision.status) == ("pending", "pending", "pending")
    assert approval.run.status == "waiting_for_approval"


def test_a_viewer_is_told_which_group_to_ask_for(desk: Desk) -> None:
    row = waiting_approval()
    page = desk("viewer").get(addresses.of(row)).content.decode()
    assert "ask for the group operator" in page


def test_operators_do_not_configure(desk: Desk) -> None:
    client = desk("operator")
    for model, verb in ((Persona, "persona"), (Route, "route"), (SecretSlot, "slot"), (ApiToken, "token")):
        assert client.get(new_url(model, verb)).status_code == 403
        assert new_url(model, verb) not in client.get(list_url(model)).content.decode()
    for row, verb in ((make_route(), "change"), (make_persona(), "revise"), (make_secret(), "rotate")):
        assert client.post(verb_url(row, verb), {"confirmed": "yes"}).status_code == 403


def test_personas_are_written_through_revisions(desk: Desk) -> None:
    client = desk("admin")
    new = {"confirmed": "yes", "persona_id": "reviewer", "display_name": "Reviewer", "soul": "You review."}
    client.post(new_url(Persona, "persona"), new)
    persona = Persona.objects.get(persona_id="reviewer")
    do(client, persona, "revise", display_name="Reviewer", soul="You review with care.")
    persona.refresh_from_db()
    assert (persona.current, persona.revisions.count()) == (2, 2)
    again = client.post(new_url(Persona, "persona"), new)
    assert "there is a persona reviewer already" in again.content.decode()
    do(client, persona, "retire")
    persona.refresh_from_db()
    assert persona.retired_at is not None


def test_a_revision_shows_what_it_changed(desk: Desk) -> None:
    persona = make_persona(soul="You review.\nBe brief.")
    do(desk("admin"), persona, "revise", display_name="Reviewer", soul="You review.\nBe kind.")
    first, second = persona.revisions.order_by("revision")
    client = desk("viewer")
    page = client.get(reverse("admin:sessions_app_personarevision_change", args=[second.pk])).content.decode()
    assert 'kh-diff-out">-Be brief.' in page and 'kh-diff-in">+Be kind.' in page
    page = client.get(reverse("admin:sessions_app_personarevision_change", args=[first.pk])).content.decode()
    assert "The first revision." in page and "kh-diff" not in page


def test_routes_are_checked_like_everywhere(desk: Desk) -> None:
    client = desk("admin")
    new = {"confirmed": "yes", "route_id": "main", "driver": "openai", "model": "m", "options": "{}"}
    refused = client.post(new_url(Route, "route"), {**new, "fallbacks": "nowhere"})
    assert "there is no route nowhere" in refused.content.decode()
    client.post(new_url(Route, "route"), {**new, "default": "on"})
    route = Route.objects.get(route_id="main")
    assert route.is_default
    do(
        client,
        route,
        "change",
        driver="openai",
        model="other",
        base_url="http://127.0.0.1:9/v1",
        options="{}",
    )
    route.refresh_from_db()
    assert (route.model, route.revision) == ("other", 2)
    second = make_route("second")
    do(client, second, "default")
    do(client, route, "delete")
    assert list(Route.objects.values_list("route_id", "is_default")) == [("second", True)]


def test_a_route_is_tested_by_a_real_run(desk: Desk) -> None:
    route = make_route("scripted")
    answer = do(desk("admin"), route, "test")
    run = Run.objects.get()
    assert answer["Location"] == addresses.of(run)
    assert (run.session.session_id, run.route_id, run.requested_by) == ("test-scripted", "scripted", "admin")
    assert desk("operator").get(verb_url(route, "test")).status_code == 403


def test_live_settings_get_a_revision(desk: Desk) -> None:
    client = desk("admin")
    client.post(new_url(RuntimeRevision, "permission-mode"), {"confirmed": "yes", "mode": "plan"})
    client.post(
        new_url(RuntimeRevision, "system-prompt"),
        {"confirmed": "yes", "append_prompt": "Be brief.", "revision": 1},
    )
    first = RuntimeRevision.objects.get(revision=1)
    assert (first.values["permission_mode"], first.created_by) == ("plan", "admin")
    do(client, first, "rollback")
    newest = RuntimeRevision.objects.first()
    assert newest is not None
    assert (newest.revision, newest.values["system_prompt"]["append_prompt"]) == (3, "")


def test_decisions_of_others_are_named(desk: Desk) -> None:
    row = waiting_approval()
    approvals.resolve(row.approval_id, Vote(behavior="deny"), principal=SYSTEM)
    assert on_many(desk("operator"), [row], "allow") == "1 refused: already denied by system"
    assert OperatorDecision.objects.count() == 0
