"""The form of a connector never sends a secret back, and takes a mask for what it is."""

import json
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


def test_the_variables_of_a_child_process_are_named_and_kept(desk: Desk) -> None:
    child = {"command": "python3", "env": {"A": SECRET, "B": "2"}}
    settings = {
        "platform": "email",
        "mode": "child_process",
        "base_url": "http://127.0.0.1:8931",
        "allow_unauthenticated_ingress": True,
        "child_process": child,
    }
    client = desk("admin")
    made = {"confirmed": "yes", "kind": "external", "name": "mail", "secrets": ""}
    client.post(NEW, {**made, "settings": json.dumps(settings)})
    row = Connector.objects.get()
    viewed = desk("viewer").get(addresses.of(row)).content.decode()
    assert "env_keys" in viewed and SECRET not in viewed
    there = addresses.of_verb(row, "change")
    form = client.get(there)
    assert SECRET not in form.content.decode()
    shown = json.loads(form.context["form"]["settings"].value())
    shown["child_process"] |= {"command": "python4", "env": {"B": "3"}}
    change = {"confirmed": "yes", "revision": row.revision, "secrets": "", "settings": json.dumps(shown)}
    assert client.post(there, change).status_code == 302
    row.refresh_from_db()
    assert row.settings["child_process"]["env"] == {"A": SECRET, "B": "3"}
    assert row.settings["child_process"]["command"] == "python4"
