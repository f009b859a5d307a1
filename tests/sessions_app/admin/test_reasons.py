"""Where the installation wants a reason, the pages say so, browsers ask for it, and the service insists."""

import re
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from sessions_app.admin import addresses
from sessions_app.models import Approval
from tests.sessions_app.admin.conftest import Desk, waiting_approval

pytestmark = pytest.mark.django_db(transaction=True)
ALL, DENY_ALONE, NOBODY = "required", "required to deny", ""


def wanted(settings: Any, *words: str) -> None:
    settings.KHEISH = replace(settings.KHEISH, reason_required=words)


def asked(risk: str) -> Approval:
    row = waiting_approval()
    Approval.objects.filter(pk=row.pk).update(risk=risk)
    return row


def inbox(row: Approval) -> str:
    return reverse("admin:console_inbox_item", args=[row.approval_id])


def own_page(row: Approval) -> str:
    return addresses.of(row)


def verb_page(row: Approval, verb: str) -> str:
    return addresses.of_verb(row, verb)


def source(client: Client, url: str) -> str:
    return client.get(url).content.decode()


def tag(page: str, beginning: str) -> str:
    """The first tag that begins so, whole."""
    found = re.search(rf"<{beginning}[^>]*>", page)
    assert found is not None, beginning
    return found.group()


@pytest.mark.parametrize(
    ("words", "risk", "mark"),
    [
        ((), "high", NOBODY),
        (("deny",), "high", DENY_ALONE),
        (("high",), "high", ALL),
        (("high",), "medium", NOBODY),
        (("deny", "high"), "medium", DENY_ALONE),
    ],
)
def test_the_inbox_marks_the_reason_and_frees_the_buttons_that_want_none(
    desk: Desk, settings: Any, words: tuple[str, ...], risk: str, mark: str
) -> None:
    wanted(settings, *words)
    page = source(desk("admin"), inbox(asked(risk)))
    said = re.search(r'class="kh-required">([^<]*)<', page)
    assert (said.group(1) if said else "") == mark
    assert (" required" in tag(page, 'input type="text" id="kh-reason"')) is bool(mark)
    free = {
        verb: "formnovalidate" in tag(page, f'button type="submit" name="verb" value="{verb}"')
        for verb in ("allow", "edit", "deny")
    }
    assert free == {"allow": mark != ALL, "edit": mark != ALL, "deny": mark == NOBODY}


def test_the_page_of_an_approval_marks_it_too(desk: Desk, settings: Any) -> None:
    wanted(settings, "deny")
    row, client = asked("medium"), desk("operator")
    page = source(client, own_page(row))
    assert "Reason (required to deny)" in page
    assert " required" in tag(page, 'textarea name="reason"')
    assert "formnovalidate" in tag(page, f'button type="submit" formaction="{verb_page(row, "allow")}"')
    assert "formnovalidate" not in tag(page, f'button type="submit" formaction="{verb_page(row, "deny")}"')


@pytest.mark.parametrize(("verb", "marked"), [("deny", True), ("allow", False), ("edit", False)])
def test_the_page_of_a_verb_marks_it_where_it_is_wanted(
    desk: Desk, settings: Any, verb: str, marked: bool
) -> None:
    wanted(settings, "deny")
    page = source(desk("operator"), verb_page(asked("medium"), verb))
    assert ("Reason (required)" in page) is marked
    assert (" required" in tag(page, 'textarea name="reason"')) is marked


def test_the_question_about_many_marks_it(desk: Desk, settings: Any) -> None:
    wanted(settings, "high")
    row, client = asked("medium"), desk("operator")
    chosen = {"action": "deny", "_selected_action": [row.pk], "index": "0"}
    page = client.post(reverse("admin:sessions_app_approval_changelist"), chosen).content.decode()
    assert "Reason (required)" in page  # one of them may be of high risk


def test_without_one_the_inbox_answers_with_the_code_of_the_service(desk: Desk, settings: Any) -> None:
    wanted(settings, "deny")
    row, client = asked("medium"), desk("operator")
    answer = client.post(inbox(row), {"verb": "deny", "seen": row.digest, "reason": "  "})
    assert answer.status_code == 400
    page = answer.content.decode()
    assert "a reason is needed to deny this" in page
    assert "<code>approval_reason_required</code>" in page
    row.refresh_from_db()
    assert row.status == "pending"
    client.post(inbox(row), {"verb": "deny", "seen": row.digest, "reason": "not now"})
    row.refresh_from_db()
    assert row.status == "denied"


def test_without_one_the_page_of_the_verb_answers_with_it_too(desk: Desk, settings: Any) -> None:
    wanted(settings, "high")
    row, client = asked("high"), desk("operator")
    told = {"confirmed": "yes", "reason": "", f"seen-{row.pk}": row.digest}
    page = client.post(verb_page(row, "allow"), told).content.decode()
    assert "a reason is needed to allow this" in page and "approval_reason_required" in page
    row.refresh_from_db()
    assert row.status == "pending"
