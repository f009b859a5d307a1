"""``binding_keys`` of a submission: a conversation given to a session before its first event."""

from typing import Any

import pytest
from django.test import Client

from connectors_app.models import BindingKey
from connectors_app.services import ingress
from sessions_app.models import JournalEntry, Run, Session
from tests.connectors_app.rows import make_connector, make_event
from tests.factories import code_of, make_client, make_route, make_session
from tests.support.engine import race

pytestmark = pytest.mark.django_db
KEYS = {"content": "watch this thread", "binding_keys": ["thread-1", "thread-2", "thread-1"]}


@pytest.fixture(autouse=True)
def route() -> None:
    make_route()


@pytest.mark.parametrize("path", ["/v1/sessions/desk/runs", "/v1/sessions/desk/input"])
def test_events_of_a_named_conversation_come_to_the_session(path: str) -> None:
    make_session("desk")
    client = make_client("operator")
    answer = client.post(path, KEYS)
    assert answer.status_code == 202, answer.content
    assert set(BindingKey.objects.values_list("key", "session__session_id", "connector")) == {
        ("thread-1", "desk", None),
        ("thread-2", "desk", None),
    }
    (bound,) = JournalEntry.objects.filter(kind="session.bound")
    assert bound.payload["keys"] == ["thread-1", "thread-2"]
    assert set(Session.objects.get().binding_keys) == {"thread-1", "thread-2"}
    event = make_event(binding_keys=("thread-1",), natural_session_id="elsewhere")
    assert ingress.accept(make_connector(), event).session_id == "desk"
    assert client.post(path, KEYS).status_code == 202  # what is bound there already is no change
    assert JournalEntry.objects.filter(kind="session.bound").count() == 1


def test_a_key_of_another_session_refuses_the_input_whole() -> None:
    ingress.accept(make_connector(fixed_session_id="incident"), make_event(binding_keys=("thread-1",)))
    make_session("desk")
    answer = make_client("operator").post("/v1/sessions/desk/runs", KEYS)
    assert (answer.status_code, code_of(answer)) == (409, "binding_key_taken")
    assert answer.json()["keys"] == ["thread-1"]
    assert not Run.objects.filter(session__session_id="desk").exists()
    assert not BindingKey.objects.filter(key="thread-2").exists()


@pytest.mark.parametrize("keys", [["k"] * 51, ["k" * 1001], [""], "k", [1], None])
def test_what_is_no_list_of_keys_is_refused(keys: Any) -> None:
    make_session("desk")
    answer = make_client("operator").post("/v1/sessions/desk/runs", {"content": "x", "binding_keys": keys})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


@pytest.mark.django_db(transaction=True)
def test_two_sessions_that_claim_a_key_at_once_leave_it_with_one() -> None:
    clients = [make_client("operator", f"caller-{number}") for number in range(4)]
    for number in range(4):
        make_session(f"desk-{number}")

    def claim(number: int) -> int:
        path = f"/v1/sessions/desk-{number}/runs"
        return int(clients[number].post(path, {"content": "x", "binding_keys": ["shared"]}).status_code)

    assert sorted(race(4, claim)) == [202, 409, 409, 409]
    key = BindingKey.objects.get()
    assert list(Run.objects.values_list("session", flat=True)) == [key.session_id]


def test_the_console_shows_a_key_that_no_connector_bound(admin_client: Client) -> None:
    make_session("desk")
    make_client("operator").post("/v1/sessions/desk/runs", KEYS)
    page = admin_client.get("/admin/connectors_app/bindingkey/")
    assert page.status_code == 200 and "thread-2" in page.content.decode()
    row = BindingKey.objects.get(key="thread-2")
    assert admin_client.get(f"/admin/connectors_app/bindingkey/{row.pk}/change/").status_code == 200
