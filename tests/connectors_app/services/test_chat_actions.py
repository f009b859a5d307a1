"""A pressed button: the same decision, by the same rules, as on every other surface."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from connectors_app.models import Connector, IngressReceipt
from connectors_app.services import button_data, chat_actions, identities, ingress
from connectors_app.services.chat_actions import Outcome
from kheish_site.lib import clock
from sessions_app.engine import loop
from sessions_app.models import Approval, JournalEntry, Run, Session, UserQuestion
from sessions_app.services import approvals, questions, runs, tokens
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from tests.connectors_app.people import (
    answer_to,
    bind,
    make_account,
    make_connector,
    make_person,
    press,
    target_of,
)
from tests.connectors_app.rows import make_event
from tests.factories import make_client
from tests.sessions_app.engine.conftest import BOB, call, kinds, payloads, submit
from tests.support.engine import check_session, race

pytestmark = pytest.mark.django_db(transaction=True)
Ask = Callable[..., UserQuestion]
ASKED = {"tool_calls": [call("bash", command="echo hello")]}


def rule(**policy: Any) -> dict[str, Any]:
    return {"permission_rules": [{"tool_name_pattern": "bash", "behavior": "ask", **policy}]}


def status_of(row: Any) -> str:
    row.refresh_from_db()
    return str(row.status)


def test_an_operator_allows_and_the_run_goes_on(
    approval: Approval, slack: Connector, olga: str, heartbeat: Heartbeat
) -> None:
    told = chat_actions.perform(slack, olga, press(approval))
    assert told == Outcome(text="You allowed bash.", settled=True, announcement="olga allowed bash.")
    vote = approval.votes.get()
    assert (vote.principal, vote.auth_method, vote.remote_addr) == ("olga", "chat", "slack:ops:U-olga")
    assert vote.digest == approval.digest
    voted = payloads(approval.run, "approval.voted")[0]
    assert (voted["auth_method"], voted["remote_addr"]) == ("chat", "slack:ops:U-olga")
    loop.drive(approval.session_id, heartbeat)
    assert runs.get(approval.run.run_id).status == "completed"
    check_session(approval.session_id)


def test_a_denial(approval: Approval, slack: Connector, olga: str) -> None:
    assert chat_actions.perform(slack, olga, press(approval, "deny")).text == "You denied bash."
    assert status_of(approval) == "denied"


def test_pressing_again_says_who_and_when(approval: Approval, slack: Connector, olga: str) -> None:
    make_person(slack, "U-otto", "otto")
    chat_actions.perform(slack, olga, press(approval))
    before = JournalEntry.objects.count()
    approval.refresh_from_db()
    said = f"Already allowed by olga at {approval.decided_at:%Y-%m-%d %H:%M:%S} UTC."
    for person in (olga, "U-otto"):
        for behavior in ("allow", "deny"):
            told = chat_actions.perform(slack, person, press(approval, behavior))
            assert told == Outcome(text=said, settled=True)
    assert (approval.votes.count(), JournalEntry.objects.count()) == (1, before)


def test_decided_elsewhere(approval: Approval, slack: Connector, olga: str) -> None:
    old = press(approval)
    edited = Vote(behavior="allow", updated_input={"command": "echo other"})
    approvals.resolve(approval.approval_id, edited, principal=BOB)
    told = chat_actions.perform(slack, olga, old)
    assert told.settled and told.text.startswith("Already allowed by bob at ")
    assert told.text.endswith(" UTC with edited arguments.")


def test_strangers_and_viewers_decide_nothing(approval: Approval, slack: Connector, ask: Ask) -> None:
    make_person(slack, "U-view", "vera", "viewer", held="admin")
    make_person(slack, "U-weak", "willy", "admin", held="viewer")
    make_account("nora")
    make_person(slack, "U-none", "nora")
    User.objects.get(username="nora").groups.clear()
    for person, why in (
        ("U-any", "no account is mapped to U-any"),
        ("U-view", "vera is viewer"),
        ("U-weak", "willy is viewer"),
        ("U-none", "nora is without a role"),
    ):
        told = chat_actions.perform(slack, person, press(approval))
        assert told == Outcome(text=f"You may not decide here: {why}.")
    assert (status_of(approval), approval.votes.count()) == ("pending", 0)


def test_a_deactivated_account_and_a_revoked_token(approval: Approval, slack: Connector) -> None:
    user = make_account("nora")
    make_person(slack, "U-nora", "nora")
    make_person(slack, "U-ci", "ci")
    user.is_active = False
    user.save()
    tokens.revoke(tokens.live_named(["ci"]).get().token_id)
    for person in ("U-nora", "U-ci"):
        assert "may not decide" in chat_actions.perform(slack, person, press(approval)).text
    assert status_of(approval) == "pending"


def test_other_connectors_know_nothing_of_it(approval: Approval, session: Session) -> None:
    unknown = Outcome(text="There is no such request in this chat.")
    for other in (make_connector("dev"), make_connector("ops", "telegram")):
        make_person(other, "U1", "otto")
        assert chat_actions.perform(other, "U1", press(approval)) == unknown
    assert status_of(approval) == "pending"
    bind(other, session)
    assert chat_actions.perform(other, "U1", press(approval)).text == "You allowed bash."


def test_a_connector_that_fed_the_session_may_decide(approval: Approval, session: Session) -> None:
    other = make_connector("dev")
    make_person(other, "U1", "otto")
    IngressReceipt.objects.create(
        connector=other,
        key="k",
        fingerprint="0" * 64,
        run=approval.run,
        session=session,
        accepted_at=clock.now(),
    )
    assert chat_actions.perform(other, "U1", press(approval, "deny")).text == "You denied bash."


def test_new_targets_of_the_session_may_decide_too(approval: Approval, session: Session) -> None:
    other = make_connector("dev")
    make_person(other, "U1", "otto")
    answer_to(session, {"plugin": "daemon", "address": {"session_id": "desk"}}, target_of(other))
    assert chat_actions.perform(other, "U1", press(approval)).settled


@pytest.mark.parametrize(
    "data",
    [
        "",
        "kh1:",
        "kh1:a:x:y",
        "kh2:a:0",
        "kh1:q:{q}:0",
        "kh1:q:{q}:00:1",
        "kh1:a:{a}:{d}:y:y",
        "kh1:a:{a}:{d}:Y",
    ],
)
def test_bytes_nobody_wrote(approval: Approval, slack: Connector, olga: str, data: str) -> None:
    bare = approval.approval_id.removeprefix("apr_")
    told = chat_actions.perform(slack, olga, data.format(q=bare, a=bare, d=approval.digest[:16]))
    assert told == Outcome(text="I do not know this button.")


def test_ids_nobody_knows(approval: Approval, slack: Connector, olga: str) -> None:
    for data in (f"kh1:a:{'0' * 26}:{'0' * 16}:y", f"kh1:q:{'0' * 26}:0:0", f"kh1:q:{'0' * 26}:d"):
        told = chat_actions.perform(slack, olga, data)
        assert told == Outcome(text="There is no such request in this chat.")


def test_an_edited_call_is_not_allowed_by_an_old_button(
    drive: Callable[..., Run], session: Session, slack: Connector, olga: str
) -> None:
    Session.objects.filter(pk=session.pk).update(**rule(required_votes=2))
    approval = Approval.objects.get(run=drive(ASKED, {"text": "done"}))
    old = press(approval)
    edited = Vote(behavior="allow", updated_input={"command": "echo other"})
    approvals.resolve(approval.approval_id, edited, principal=BOB)
    told = chat_actions.perform(slack, olga, old)
    assert "was edited" in told.text and not told.settled
    assert status_of(approval) == "pending"
    assert "was edited" in chat_actions.perform(slack, olga, old[:-1] + "n").text
    assert chat_actions.perform(slack, olga, press(approval)).text == "You allowed bash."
    assert approval.votes.filter(voided_at=None).count() == 2


def test_two_votes_by_two_people(
    drive: Callable[..., Run], session: Session, slack: Connector, olga: str
) -> None:
    Session.objects.filter(pk=session.pk).update(**rule(required_votes=2))
    approval = Approval.objects.get(run=drive(ASKED, {"text": "done"}))
    make_person(slack, "U-olga-2", "olga")
    assert chat_actions.perform(slack, olga, press(approval)).text == "Your vote counts: 1 of 2."
    for person in (olga, "U-olga-2"):
        assert (
            chat_actions.perform(slack, person, press(approval)).text == "Your vote counts already: 1 of 2."
        )
    assert approval.votes.count() == 1
    make_person(slack, "U-otto", "otto")
    assert chat_actions.perform(slack, "U-otto", press(approval)).text == "You allowed bash."


def test_roles_of_the_policy_hold(
    drive: Callable[..., Run], session: Session, slack: Connector, olga: str
) -> None:
    Session.objects.filter(pk=session.pk).update(**rule(roles=["admin"]))
    approval = Approval.objects.get(run=drive(ASKED, {"text": "done"}))
    told = chat_actions.perform(slack, olga, press(approval))
    assert told.text == "Nothing was decided: this approval needs one of: admin."
    make_person(slack, "U-capped", "anna", "operator", held="admin")
    assert "needs one of: admin" in chat_actions.perform(slack, "U-capped", press(approval)).text
    make_person(slack, "U-admin", "adam", "admin")
    assert chat_actions.perform(slack, "U-admin", press(approval)).settled


def test_whoever_asked_may_not_approve(
    script: Callable[..., Any], session: Session, slack: Connector, olga: str, heartbeat: Heartbeat
) -> None:
    """Neither under the name the run carries, nor from the chat account that sent the message."""
    Session.objects.filter(pk=session.pk).update(**rule(requester_may_vote=False))
    script(ASKED, {"text": "done"})
    new = {"source_plugin": "slack", "source_kind": "message", "actor_id": "U-sent"}
    run = submit(session, **new)  # asked for by alice
    loop.drive(session.pk, heartbeat)
    approval = Approval.objects.get(run=run)
    make_person(slack, "U-alice", "alice")
    make_person(slack, "U-sent", "sam")
    make_person(slack, "U-sam-at-home", "sam")
    make_person(slack, "T1:U-sent", "tim")  # mapped with the team, after the message
    for person in ("U-alice", "U-sent", "U-sam-at-home", "T1:U-sent"):
        told = chat_actions.perform(slack, person, press(approval))
        assert told == Outcome(
            text="Nothing was decided: whoever asked for the run may not approve this call."
        )
    assert status_of(approval) == "pending"
    assert chat_actions.perform(slack, olga, press(approval)).settled
    assert identities.requester(slack, "U-sent") == "sam"


def test_whoever_sent_the_message_may_not_approve_it_elsewhere(
    script: Callable[..., Any], session: Session, slack: Connector, heartbeat: Heartbeat
) -> None:
    Session.objects.filter(pk=session.pk).update(**rule(requester_may_vote=False))
    script(ASKED, {"text": "done"})
    client = make_client("operator", "sam")
    make_person(slack, "U-sam", "sam")
    event = make_event(actor_id="U-sam", named_session_id=session.session_id)
    run = ingress.accept(slack, event).run
    assert run.requested_by == "sam"
    loop.drive(session.pk, heartbeat)
    approval = Approval.objects.get(run=run)
    answer = client.post(f"/v1/approvals/{approval.approval_id}/resolve", {"behavior": "allow"})
    assert (answer.status_code, answer.json()["code"]) == (403, "approval_vote_forbidden")
    assert "may not approve" in chat_actions.perform(slack, "U-sam", press(approval)).text
    stranger = ingress.accept(slack, make_event(actor_id="U-x", named_session_id=session.session_id))
    assert stranger.run.requested_by == "connector:slack/ops"


def test_an_expired_approval(
    drive: Callable[..., Run], session: Session, slack: Connector, olga: str
) -> None:
    Session.objects.filter(pk=session.pk).update(**rule(expires_after_seconds=60))
    approval = Approval.objects.get(run=drive(ASKED, {"text": "done"}))
    Approval.objects.filter(pk=approval.pk).update(expires_at="2020-01-01T00:00Z")
    said = Outcome(text="Too late: this expired at 2020-01-01 00:00:00 UTC.", settled=True)
    assert chat_actions.perform(slack, olga, press(approval)) == said
    approval.refresh_from_db()
    assert approvals.expire(approval)
    assert chat_actions.perform(slack, olga, press(approval)) == said
    assert not approval.votes.exists()


def test_the_run_has_ended(approval: Approval, slack: Connector, olga: str) -> None:
    runs.cancel(approval.run.run_id, principal="bob")
    told = chat_actions.perform(slack, olga, press(approval))
    assert told == Outcome(text="Nothing is left to decide: the run has ended (cancelled).", settled=True)


def test_chat_and_http_race_and_settle_once(approval: Approval, slack: Connector, session: Session) -> None:
    clients = [make_client("operator", f"web-{n}") for n in range(4)]
    for number in range(4):
        make_person(slack, f"U{number}", f"chat-{number}")
    path = f"/v1/approvals/{approval.approval_id}/resolve"

    def decide(number: int) -> Any:
        behavior: Any = "allow" if number % 2 else "deny"
        if number < 4:
            return clients[number].post(path, {"behavior": behavior}).status_code
        return chat_actions.perform(slack, f"U{number - 4}", press(approval, behavior))

    results = race(8, decide)
    assert set(results[:4]) <= {200, 409}, results
    assert all(isinstance(told, Outcome) and told.settled for told in results[4:]), results
    won = [told for told in results[4:] if told.text.startswith("You ")]
    settled = [kind for kind in kinds(approval.run) if kind in ("approval.allowed", "approval.denied")]
    approval.refresh_from_db()
    by_chat = approval.decision["principal"].startswith("chat-")
    assert (len(settled), len(won), approval.votes.count()) == (1, int(by_chat), 1)
    check_session(session.pk)


def test_a_press_answers_a_single_question(
    ask: Ask, slack: Connector, olga: str, heartbeat: Heartbeat
) -> None:
    question = ask()
    told = chat_actions.perform(slack, olga, button_data.for_option(question, 0, 1))
    assert told == Outcome(text="You answered: west.", settled=True, announcement="olga answered: west.")
    question.refresh_from_db()
    assert (question.status, question.resolved_by) == ("answered", "olga")
    assert question.answers[0]["selected_option_ids"] == ["option-2"]
    before = JournalEntry.objects.count()
    for data in (button_data.for_option(question, 0, 0), button_data.for_decline(question)):
        told = chat_actions.perform(slack, olga, data)
        assert told.settled and told.text.startswith("Already answered by olga at ")
        assert told.text.endswith(" UTC: west.")
    assert JournalEntry.objects.count() == before
    loop.drive(question.session_id, heartbeat)
    assert runs.get(question.run.run_id).status == "completed"


def test_declining(ask: Ask, slack: Connector, olga: str) -> None:
    question = ask()
    told = chat_actions.perform(slack, olga, button_data.for_decline(question))
    assert told == Outcome(
        text="You declined to answer.", settled=True, announcement="olga declined to answer."
    )
    told = chat_actions.perform(slack, olga, button_data.for_option(question, 0, 1))
    assert told.text.startswith("Already declined by olga at ")


@pytest.mark.parametrize("several", [True, False])
def test_what_one_press_cannot_answer(ask: Ask, slack: Connector, olga: str, several: bool) -> None:
    options = [{"label": "a"}, {"label": "b"}]
    first = {"question": "One?", "options": options, "multi_select": several}
    question = ask(first) if several else ask(first, {"question": "Two?", "options": options})
    told = chat_actions.perform(slack, olga, button_data.for_option(question, 0, 0))
    assert told.text.startswith("Nothing was decided: a button cannot answer")
    assert status_of(question) == "pending"
    assert chat_actions.perform(slack, olga, button_data.for_decline(question)).settled


def test_options_that_are_not_there(ask: Ask, slack: Connector, olga: str) -> None:
    question = ask()
    for number, option in ((0, 2), (0, 9), (1, 0)):
        told = chat_actions.perform(slack, olga, button_data.for_option(question, number, option))
        assert not told.settled
    assert status_of(question) == "pending"


def test_a_question_that_ran_out_or_whose_run_ended(ask: Ask, slack: Connector, olga: str) -> None:
    question = ask(expires_after_seconds=3600)
    UserQuestion.objects.filter(pk=question.pk).update(expires_at="2020-01-01T00:00Z")
    said = Outcome(text="Too late: this expired at 2020-01-01 00:00:00 UTC.", settled=True)
    assert chat_actions.perform(slack, olga, button_data.for_option(question, 0, 0)) == said
    question.refresh_from_db()
    assert questions.expire(question)
    assert chat_actions.perform(slack, olga, button_data.for_option(question, 0, 0)) == said


def test_a_question_of_a_cancelled_run(ask: Ask, slack: Connector, olga: str) -> None:
    question = ask()
    runs.cancel(question.run.run_id, principal="bob")
    told = chat_actions.perform(slack, olga, button_data.for_option(question, 0, 0))
    assert told == Outcome(text="Nothing is left to answer: the run has ended (cancelled).", settled=True)


def test_racing_answers_settle_once(ask: Ask, slack: Connector, session: Session) -> None:
    question = ask()
    for number in range(6):
        make_person(slack, f"U{number}", f"chat-{number}")

    def answer(number: int) -> Outcome:
        return chat_actions.perform(slack, f"U{number}", button_data.for_option(question, 0, number % 2))

    results = race(6, answer)
    assert all(isinstance(told, Outcome) and told.settled for told in results), results
    assert sum(told.text.startswith("You answered") for told in results) == 1
    assert kinds(question.run).count("question.answered") == 1
    check_session(session.pk)


def test_button_data_fits_every_platform(approval: Approval, ask: Ask) -> None:
    data = [press(approval), press(approval, "deny")]
    assert all(len(item.encode("ascii")) <= button_data.LONGEST for item in data)
    assert button_data.is_ours(data[0]) and not button_data.is_ours("menu:1")
    read = button_data.read(data[1])
    assert read == button_data.ApprovalPress(
        approval_id=approval.approval_id, digest=approval.digest[:16], behavior="deny"
    )
