"""Requests that no page makes are refused in words, never by a failure of the server."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.http import urlencode

from sessions_app.admin import addresses
from sessions_app.models import Approval, Persona
from tests.sessions_app.admin.conftest import Desk, waiting_approval
from tests.sessions_app.admin.test_verbs import new_url

pytestmark = pytest.mark.django_db(transaction=True)
DEEP = '{"command": ' + "[" * 5_000 + "]" * 5_000 + "}"
DEEPER_THAN_READ = '{"command": ' + "[" * 500 + "]" * 500 + "}"


def test_a_reason_that_is_too_long_for_many_decides_nothing(desk: Desk) -> None:
    row = waiting_approval()
    fields: dict[str, Any] = {"others": row.approval_id, f"seal-{row.approval_id}": row.digest}
    here = reverse("admin:console_inbox_item", args=[row.approval_id])
    answer = desk("operator").post(here, {"verb": "allow", "reason": "x" * 501, **fields})
    assert answer.status_code == 422 and "at most 500 characters" in answer.content.decode()
    assert Approval.objects.get().status == "pending"


@pytest.mark.parametrize("text", [DEEP, DEEPER_THAN_READ], ids=["deep", "deeper than is read"])
def test_json_that_is_nested_too_deep_is_an_error_of_its_field(desk: Desk, text: str) -> None:
    row, client = waiting_approval(), desk("admin")
    diff = reverse("admin:console_inbox_diff", args=[row.approval_id])
    assert "nested deeper than 100 levels" in client.post(diff, {"arguments": text}).json()["problem"]
    fields = {"confirmed": "yes", "persona_id": "deep", "metadata": text}
    form = client.post(new_url(Persona, "persona"), fields).context["form"]
    assert form.errors["metadata"] == ["This is nested deeper than 100 levels."]


def test_what_is_not_there_is_not_found(desk: Desk) -> None:
    client = desk("operator")
    for method in (client.get, client.post):
        assert method(reverse("admin:console_inbox_diff", args=["apr_x"])).status_code == 404


@pytest.mark.parametrize("since", ["0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "x"])
def test_any_moment_may_be_asked_about(desk: Desk, since: str) -> None:
    waiting_approval()
    assert desk("operator").get(reverse("admin:console_counts"), {"since": since}).status_code == 200


@pytest.mark.parametrize("number", ["9" * 5_000, "٣", "-1", ""])
def test_a_seal_of_no_row_is_no_seal(desk: Desk, number: str) -> None:
    row = waiting_approval()
    sent = urlencode({"confirmed": "yes", f"seen-{number}": row.digest})
    form = "application/x-www-form-urlencoded"
    answer = desk("operator").post(addresses.of_verb(row, "allow"), sent, content_type=form)
    assert "does not say what was looked at" in answer.content.decode()


def test_an_address_of_nothing_says_so_and_leads_back(desk: Desk) -> None:
    client = desk("viewer")
    for address in ("/admin/sessions_app/run/run_x/change/", "/admin/inbox/apr_x/", "/nothing/"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "Nothing is at this address" in answer.content.decode()
        assert f'href="{reverse("admin:index")}"' in answer.content.decode()


def test_a_form_of_an_older_login_says_what_to_do(desk: Desk) -> None:
    row, client = waiting_approval(), Client(enforce_csrf_checks=True)
    answer = client.post(addresses.of_verb(row, "deny"), {"confirmed": "yes"})
    assert answer.status_code == 403
    assert "Nothing was done" in answer.content.decode() and "DEBUG" not in answer.content.decode()


def test_refusals_carry_the_name_of_the_service(desk: Desk) -> None:
    client = desk("viewer")
    for address, heading in (("/nothing/", "Not found"), (new_url(Persona, "persona"), "Not allowed")):
        page = client.get(address).content.decode()
        assert f"<title>{heading} | Kheish</title>" in page and "Django" not in page


def test_a_form_sent_after_the_login_ended_is_said_to_have_done_nothing(desk: Desk) -> None:
    row, client = waiting_approval(), desk("operator")
    client.logout()
    told = client.post(addresses.of_verb(row, "deny"), {"confirmed": "yes"}, follow=True)
    assert "nothing was done" in told.content.decode()
    assert Approval.objects.get().status == "pending"
    assert "nothing was done" not in Client().get(addresses.of(row), follow=True).content.decode()
