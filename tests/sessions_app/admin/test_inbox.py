"""The inbox: one list, one page for each thing that waits, and nothing decided twice."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from kheish_site.lib import clock
from kheish_site.lib.redaction import MASK
from sessions_app.admin import addresses, inbox, show
from sessions_app.models import Approval, Run, UserQuestion
from sessions_app.services import approvals, grants
from sessions_app.services.approvals import Vote
from sessions_app.services.principal import SYSTEM
from tests.factories import make_session
from tests.sessions_app.admin.conftest import (
    Desk,
    call,
    drive,
    waiting_approval,
    waiting_decision,
    waiting_question,
)

pytestmark = pytest.mark.django_db(transaction=True)
INBOX = "/admin/inbox/"


def item(key: str) -> str:
    return reverse("admin:console_inbox_item", args=[key])


def text(answer: Any) -> str:
    return answer.content.decode()


def decide(client: Client, row: Approval, verb: str, **fields: Any) -> Any:
    return client.post(
        item(row.approval_id), {"verb": verb, "seen": row.digest, "reason": "", **fields}, follow=True
    )


def audited(number: int) -> list[Approval]:
    """Harmless calls that a rule makes ask, in one batch."""
    rules = [{"tool_name_pattern": "read_file", "behavior": "ask"}]
    make_session("audit", permission_rules=rules)
    calls = [call("read_file", path=f"file-{n}.txt") for n in range(number)]
    run = drive({"text": "I read.", "tool_calls": calls}, {"text": "done"}, session_id="audit")
    return list(Approval.objects.filter(run=run).order_by("pk"))


def test_an_empty_inbox_says_what_comes_here(desk: Desk) -> None:
    assert "Nothing waits for a person" in text(desk("viewer").get(INBOX))


def test_the_list_has_everything_and_shows_the_first(desk: Desk) -> None:
    approval, question, decision = waiting_approval(), waiting_question(), waiting_decision()
    page = text(desk("operator").get(INBOX))
    for key in (approval.approval_id, question.question_id, decision.decision_id):
        assert item(key) in page
    assert "3 waiting" in page and page.count("data-pane") == 1


def test_a_pane_has_all_that_a_decision_needs(desk: Desk) -> None:
    row = waiting_approval(command="make deploy")
    page = text(desk("operator").get(item(row.approval_id)))
    for words in (
        "may I?",
        "make deploy",
        "What will run, exactly",
        "go",
        "desk",
        ">high<",
        "What happened before",
    ):
        assert words in page
    assert f'name="seen" value="{row.digest}"' in page


@pytest.mark.parametrize("group", ["operator", "admin"])
def test_a_pane_says_when_it_does_not_show_all_of_a_call(desk: Desk, group: str) -> None:
    row = waiting_approval(command="echo token=$(id>f)")
    client = desk(group)
    page = text(client.get(item(row.approval_id)))
    assert "What will run, with parts masked" in page and "What will run, exactly" not in page
    assert ("Export unmasked" in page) == (group == "admin")
    whole = text(client.get(addresses.of_verb(row, "allow")))
    assert "Runs, parts masked" in whole


def test_a_call_that_is_not_shown_whole_is_never_part_of_a_batch(desk: Desk) -> None:
    rows = audited(2)
    row = rows[0]
    row.arguments = {"path": "token=abcdefgh"}
    row.save()
    assert "at once" not in text(desk("operator").get(item(rows[1].approval_id)))


def test_what_was_decided_leaves_and_the_next_comes(desk: Desk) -> None:
    first, second = waiting_approval("one"), waiting_approval("two")
    answer = decide(desk("operator"), first, "allow", reason="looks right")
    assert answer.redirect_chain[-1][0] == item(second.approval_id)
    assert "Approved: bash." in text(answer) and item(first.approval_id) not in text(answer)
    first.refresh_from_db()
    assert (first.status, first.decision["justification"]) == ("allowed", "looks right")
    last = decide(desk("admin"), second, "deny", reason="not on a Friday")
    assert "Nothing waits for a person" in text(last)
    second.tool_call.refresh_from_db()
    assert second.tool_call.content == "denied: not on a Friday"


def test_a_decision_names_the_call_it_was_made_for(desk: Desk) -> None:
    row = waiting_approval()
    client = desk("operator")
    for seen in ({}, {"seen": ""}, {"seen": "0" * 64}):
        answer = client.post(item(row.approval_id), {"verb": "allow", "reason": "yes", **seen})
        assert answer.status_code == 409
    bare = {"reason": "yes", "confirmed": "yes"}
    client.post(addresses.of_verb(row, "allow"), bare)
    row.refresh_from_db()
    assert row.status == "pending"


def test_the_second_person_reads_who_and_when(desk: Desk) -> None:
    row = waiting_approval()
    client = desk("operator")
    approvals.resolve(row.approval_id, Vote(behavior="deny", reason="no"), principal=SYSTEM)
    late = client.post(item(row.approval_id), {"verb": "allow", "seen": row.digest, "reason": "yes"})
    assert late.status_code == 409
    page = text(late)
    assert "Already denied</strong> by system" in page and "s ago" in page
    assert 'value="allow"' not in page


def test_what_expired_has_no_buttons_and_says_what_to_do(desk: Desk) -> None:
    row = waiting_approval()
    Approval.objects.filter(pk=row.pk).update(expires_at=clock.now())
    row.refresh_from_db()
    assert approvals.expire(row)
    page = text(desk("operator").get(item(row.approval_id)))
    assert "Already expired" in page and "To ask again, send the session new input." in page
    assert "data-approve" not in page and "data-deny" not in page


def test_an_edit_is_judged_before_it_is_sent(desk: Desk) -> None:
    row = waiting_approval(command="curl -H 'Authorization: Bearer abcdefgh12345678' example.test")
    client = desk("operator")
    page = text(client.get(item(row.approval_id)))
    assert "abcdefgh12345678" not in page and MASK in page
    diff = reverse("admin:console_inbox_diff", args=[row.approval_id])

    def judged(arguments: str) -> dict[str, Any]:
        answer = client.post(diff, {"arguments": arguments}).json()
        assert "abcdefgh12345678" not in str(answer)
        return answer

    assert "not JSON" in judged("{")["problem"]
    assert "is not of type" in judged('{"command": 5}')["problem"]
    assert "kept or replaced whole" in judged(f'{{"command": "echo {MASK}"}}')["problem"]
    assert judged(f'{{"command": "curl -H \'Authorization: {MASK}\' example.test"}}')["same"]
    good = judged('{"command": "echo hello"}')
    assert not good["problem"] and "kh-diff-in" in good["html"]
    decide(client, row, "edit", arguments='{"command": "echo hello"}', reviewed=good["mark"])
    row.refresh_from_db()
    assert (row.status, row.arguments) == ("allowed", {"command": "echo hello"})


def test_without_scripts_an_edit_is_shown_first(desk: Desk) -> None:
    row = waiting_approval()
    client = desk("operator")
    first = client.post(
        item(row.approval_id), {"verb": "edit", "arguments": '{"command": "echo b"}', "reason": ""}
    )
    assert first.status_code == 422 and "kh-diff-in" in text(first)
    mark = first.context["console_form"]["reviewed"].value()
    decide(client, row, "edit", arguments='{"command": "echo b"}', reviewed=mark)
    row.refresh_from_db()
    assert row.arguments == {"command": "echo b"}


def test_what_the_options_look_like_is_shown_as_text(desk: Desk) -> None:
    options = [{"label": "plain", "preview": "<b>one</b>\ntw\u200bo"}, {"label": "other"}]
    asked = [{"question": "Which?", "options": options}]
    turn = {"text": "", "tool_calls": [call("ask_user_question", questions=asked)]}
    question = UserQuestion.objects.get(run=drive(turn, session_id="asking"))
    client = desk("operator")
    pages = (item(question.question_id), addresses.of_verb(question, "answer"), addresses.of(question))
    for page in pages:
        shown = client.get(page).content.decode()
        assert "&lt;b&gt;one&lt;/b&gt;" in shown and "tw\\u200bo" in shown, page
        assert "<b>one</b>" not in shown and "other looks like" not in shown


def test_questions_and_decisions_are_settled_here(desk: Desk) -> None:
    question, decision = waiting_question(), waiting_decision()
    client = desk("operator")
    half = client.post(item(question.question_id), {"verb": "answer", "choice_0": "option-2", "reason": ""})
    assert half.status_code == 400 and "select an option or write an answer" in text(half)
    whole = {"verb": "answer", "choice_0": "option-2", "choice_1": ["option-1"], "reason": "", "text_1": ""}
    client.post(item(question.question_id), whole)
    client.post(item(decision.decision_id), {"verb": "tell_agent", "note": "the log says nothing"})
    question.refresh_from_db(), decision.refresh_from_db()
    assert (question.status, decision.outcome) == ("answered", "tell_agent")
    assert Run.objects.get(pk=decision.run_id).status == "queued"


def test_harmless_calls_of_one_tool_are_approved_together(desk: Desk) -> None:
    rows = audited(3)
    client = desk("operator")
    page = text(client.get(item(rows[0].approval_id)))
    assert "1 of 3" in page and "Approve all 3 harmless read_file requests" in page
    assert page.count("file-1.txt") >= 2  # every set of arguments is listed whole
    seals = {f"seal-{row.approval_id}": row.digest for row in rows}
    others = [row.approval_id for row in rows[:2]]
    answer = decide(client, rows[0], "allow", others=others, **seals)
    assert "2 approved" in text(answer)
    assert list(Approval.objects.order_by("pk").values_list("status", flat=True)) == [
        "allowed",
        "allowed",
        "pending",
    ]


def test_a_tool_of_no_high_risk_is_allowed_for_the_session_by_admins(desk: Desk) -> None:
    row = audited(1)[0]
    admin, label = desk("admin"), "Approve for this session"
    assert label in text(admin.get(item(row.approval_id)))
    assert label not in text(desk("operator").get(item(row.approval_id)))
    assert "Approved, and allowed for this session" in text(decide(admin, row, "grant", reason="harmless"))
    row.refresh_from_db()
    assert row.status == "allowed"
    assert [given["tool_name"] for given in grants.of(row.session)] == ["read_file"]
    risky = waiting_approval("risky")
    assert label not in text(admin.get(item(risky.approval_id)))
    decide(admin, risky, "grant")
    risky.refresh_from_db()
    assert risky.status == "pending" and grants.of(risky.session) == []


@pytest.mark.parametrize("verb", ["allow", "grant"])
def test_a_yes_to_the_call_as_shown_does_not_drop_an_edit(desk: Desk, verb: str) -> None:
    row = audited(1)[0]
    edited = json.dumps(row.arguments | {"path": "elsewhere.txt"})
    admin = desk("admin")
    answer = decide(admin, row, verb, arguments=edited)
    assert answer.status_code == 422 and "Approve with edits, or put them back" in text(answer)
    assert "elsewhere.txt" in text(answer)  # what was written is kept
    row.refresh_from_db()
    assert row.status == "pending" and grants.of(row.session) == []
    unchanged = json.dumps(row.arguments, indent=4).replace("\n", "\r\n")
    assert "Approved" in text(decide(admin, row, verb, arguments=unchanged))


def test_nothing_hides_in_what_will_run(desk: Desk) -> None:
    row = waiting_approval(command="rm -rf ~/\u202etxt.eton #\u200b hidden")
    client = desk("admin")
    for address in (INBOX, item(row.approval_id), addresses.of(row.run)):
        page = text(client.get(address))
        assert "\\u202etxt.eton #\\u200b hidden" in page, address
        assert "\u202e" not in page and "\u200b" not in page, address
    decide(client, row, "allow", arguments=show.json_text(row.arguments))
    row.refresh_from_db()
    assert row.status == "allowed" and not row.decision["edited"]


def test_one_admin_does_not_allow_for_the_session_what_needs_two(desk: Desk) -> None:
    row = audited(1)[0]
    Approval.objects.filter(pk=row.pk).update(required_votes=2)
    admin = desk("admin")
    assert "Approve for this session" not in text(admin.get(item(row.approval_id)))
    decide(admin, row, "grant")
    row.refresh_from_db()
    assert row.votes.count() == 0 and grants.of(row.session) == []


def test_the_list_begins_with_what_expires_first_however_much_waits() -> None:
    calm, late, soon = (waiting_approval(name) for name in ("calm", "late", "soon"))
    Approval.objects.filter(pk=calm.pk).update(expires_at=None)
    Approval.objects.filter(pk=late.pk).update(expires_at=clock.now() + timedelta(hours=2))
    Approval.objects.filter(pk=soon.pk).update(expires_at=clock.now() + timedelta(minutes=5))
    assert [found.session_id for found in inbox.items(2)] == ["soon", "late"]
    Approval.objects.update(expires_at=None)
    Approval.objects.filter(pk__in=[calm.pk, late.pk]).update(risk="low")
    assert [found.session_id for found in inbox.items(2)] == ["soon", "calm"]


def test_a_risky_call_is_never_part_of_a_batch(desk: Desk) -> None:
    waiting_approval("one")
    row = waiting_approval("two")
    assert "at once" not in text(desk("operator").get(item(row.approval_id)))


@pytest.mark.parametrize("group", ["viewer", ""])
def test_who_may_not_decide_sees_no_button_and_is_refused(desk: Desk, group: str) -> None:
    row = waiting_approval()
    client = desk(group)
    page = client.get(item(row.approval_id))
    if group:
        assert "ask for the group operator" in text(page) and 'value="allow"' not in text(page)
    else:
        assert page.status_code == 403 and "ask for the group viewer" in text(page)
    refused = client.post(item(row.approval_id), {"verb": "allow", "reason": ""})
    assert refused.status_code == 403 and "ask for the group" in text(refused)
    assert client.post(reverse("admin:console_inbox_diff", args=[row.approval_id])).status_code == 403
    row.refresh_from_db()
    assert row.status == "pending"


def test_counts_are_for_those_who_may_look(desk: Desk) -> None:
    waiting_approval()
    assert desk("viewer").get(reverse("admin:console_counts")).json() == {"waiting": 1}
    assert desk("").get(reverse("admin:console_counts")).status_code == 403


def test_a_page_learns_what_moved_before_it_could_hear(desk: Desk) -> None:
    client, url = desk("viewer"), reverse("admin:console_counts")
    assert client.get(url, {"since": clock.rfc3339(clock.now())}).json() == {"waiting": 0, "moved": False}
    waiting_approval()
    now = clock.now()
    assert client.get(url, {"since": clock.rfc3339(now)}).json() == {"waiting": 1, "moved": True}
    later = clock.rfc3339(now + timedelta(minutes=1))
    assert not client.get(url, {"since": later}).json()["moved"]
    assert client.get(url, {"since": "yesterday"}).json()["moved"]
    assert client.get(url).json() == {"waiting": 1}


@pytest.mark.parametrize(("noun", "path"), [("run", "run"), ("approval", "inbox"), ("session", "session")])
def test_a_whole_id_jumps(desk: Desk, noun: str, path: str) -> None:
    row = waiting_approval()
    asked = {"run": row.run.run_id, "approval": row.approval_id, "session": "desk"}[noun]
    answer = desk("viewer").get(reverse("admin:console_search"), {"q": asked})
    assert answer.status_code == 302 and f"/{path}/" in answer["Location"]


def test_anything_else_lists_what_has_it(desk: Desk) -> None:
    run = drive({"text": "The quay is flooded."}, session_id="incident-1")
    viewer, found = desk("viewer"), reverse("admin:console_search")
    assert reverse("admin:sessions_app_session_change", args=["incident-1"]) in text(
        viewer.get(found, {"q": "inc"})
    )
    by_words = text(viewer.get(found, {"q": "quay is"}))
    assert run.run_id in by_words and "flooded" in by_words
    assert "Nothing has this id" in text(viewer.get(found, {"q": "zzz"}))
    assert "Type an id" in text(viewer.get(found, {"q": " "}))


def test_the_inbox_costs_the_same_however_much_waits(desk: Desk) -> None:
    client = desk("operator")
    costs = []
    for number in range(3):
        waiting_approval(f"a-{number}"), waiting_question(f"q-{number}"), waiting_decision(f"d-{number}")
        row = Approval.objects.filter(status="pending").order_by("pk")[0]
        client.get(item(row.approval_id))
        with CaptureQueriesContext(connection) as captured:
            client.get(item(row.approval_id))
        costs.append(len(captured))
    assert costs[1] == costs[2] <= 24, costs
