"""The form of a connector never sends a secret back, and takes a mask for what it is."""

from typing import Any

import pytest
from django.urls import reverse

from connectors_app.models import Connector
from kheish_site.lib.redaction import MASK
from sessions_app.admin import addresses
from sessions_app.models import Run
from tests.factories import make_route
from tests.sessions_app.admin.conftest import Desk, desk

__all__ = ["desk"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
NEW = reverse("admin:connectors_app_connector_new", args=["connector"])
SECRET = "canary-value-4711"
HTTP = {
    "confirmed": "yes",
    "kind": "http",
    "name": "in",
    "settings": '{"fixed_session_id": "demo"}',
    "secrets": f'{{"bearer_token": {{"value": "{SECRET}"}}}}',
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"settings": "{"},
        {"name": "not ok"},
        {"secrets": HTTP["secrets"] + "}"},
        {"secrets": f'{{"nosuch": {{"value": "{SECRET}"}}}}'},
        {"secrets": f'{{"bearer_token": {{"what": "{SECRET}"}}}}'},
        {"secrets": f'{{"bearer_token": "{SECRET}"}}'},
        {"secrets": '{"bearer_token": 5}'},
    ],
)
def test_a_secret_is_not_sent_back_with_an_error(desk: Desk, wrong: dict[str, Any]) -> None:
    answer = desk("admin").post(NEW, {**HTTP, **wrong})
    page = answer.content.decode()
    assert answer.context["form"].errors and SECRET not in page


def test_a_change_of_somebody_else_is_not_undone(desk: Desk) -> None:
    client = desk("admin")
    client.post(NEW, HTTP)
    row = Connector.objects.get()
    change = {"confirmed": "yes", "revision": row.revision, "secrets": ""}
    there = addresses.of_verb(row, "change")
    desk("root").post(there, {**change, "settings": '{"fixed_session_id": "theirs"}'})
    stale = client.post(there, {**change, "settings": '{"fixed_session_id": "mine"}'}).content.decode()
    row.refresh_from_db()
    assert row.settings["fixed_session_id"] == "theirs"
    assert "root changed it after this form was opened" in stale and "mine" in stale


def test_a_test_event_that_is_sent_twice_makes_one_run(desk: Desk) -> None:
    make_route(default=True)
    client = desk("admin")
    client.post(NEW, HTTP)
    there = addresses.of_verb(Connector.objects.get(), "test")
    sent = {"confirmed": "yes", "once": client.get(there).context["once"]}
    first, second = client.post(there, sent), client.post(there, sent)
    assert first["Location"] == second["Location"] and Run.objects.count() == 1


def test_an_edited_mask_is_an_error_of_its_field(desk: Desk) -> None:
    client = desk("admin")
    client.post(NEW, HTTP)
    row = Connector.objects.get()
    edited = {
        "confirmed": "yes",
        "revision": "1",
        "settings": f'{{"fixed_session_id": "x{MASK}"}}',
        "secrets": "",
    }
    assert list(client.post(addresses.of_verb(row, "change"), edited).context["form"].errors) == ["settings"]
