"""People in chats: mapped, mapped anew and forgotten by administrators."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from connectors_app.models import ChatIdentity
from sessions_app.services import tokens
from tests.connectors_app.people import make_connector, make_person
from tests.sessions_app.admin.conftest import Desk, desk

__all__ = ["desk"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
NEW = reverse("admin:connectors_app_chatidentity_new", args=["person"])


def said(answer: Any) -> str:
    return " | ".join(str(message) for message in get_messages(answer.wsgi_request))


def do(client: Any, row: ChatIdentity, verb: str, **fields: Any) -> Any:
    url = reverse("admin:connectors_app_chatidentity_do", args=[row.pk, verb])
    return client.post(url, {"confirmed": "yes", **fields})


def test_an_admin_maps_changes_and_forgets(desk: Desk) -> None:
    client, connector = desk("admin"), make_connector()
    tokens.create("alice", role="operator")
    person = {"connector": connector.pk, "external_id": "U1", "principal": "alice", "role": "operator"}
    assert "Mapped" in said(client.post(NEW, {"confirmed": "yes", **person}))
    row = ChatIdentity.objects.get()
    assert (row.external_id, row.principal, row.created_by) == ("U1", "alice", "admin")
    page = client.get(reverse("admin:connectors_app_chatidentity_change", args=[row.pk])).content.decode()
    assert "U1 of slack/ops" in page and "operator" in page
    do(client, row, "change", principal="alice", role="viewer")
    row.refresh_from_db()
    assert row.role == "viewer"
    assert client.get(reverse("admin:connectors_app_chatidentity_changelist")).status_code == 200
    do(client, row, "forget")
    assert not ChatIdentity.objects.exists()


def test_what_is_refused_is_said(desk: Desk) -> None:
    client, connector = desk("admin"), make_connector()
    person = {"connector": connector.pk, "external_id": "U1", "principal": "nobody", "role": "operator"}
    answer = client.post(NEW, {"confirmed": "yes", **person})
    assert "no active account and no live token called nobody" in answer.content.decode()
    assert not ChatIdentity.objects.exists()


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_others_look_and_change_nothing(desk: Desk, group: str) -> None:
    row = make_person(make_connector(), "U1", "alice")
    client = desk(group)
    assert client.get(reverse("admin:connectors_app_chatidentity_changelist")).status_code == 200
    assert do(client, row, "forget").status_code == 403
    assert ChatIdentity.objects.exists()
