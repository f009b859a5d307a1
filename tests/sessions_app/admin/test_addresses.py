"""Every link of the console leads to the row it names, whatever people call their things."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

import kheish_site.urls  # noqa: F401  (registers every page, those of the apps above too)
from sessions_app.admin import addresses
from sessions_app.models import AuditEntry
from sessions_app.services import people
from tests.factories import make_persona, make_route, make_session
from tests.sessions_app.admin.conftest import Desk

pytestmark = pytest.mark.django_db(transaction=True)
PAGES = [page for page in admin.site._registry.values() if page.public_id]  # type: ignore[attr-defined]


def heading(client: Client, url: str) -> str:
    answer = client.get(url, follow=True)
    return str(answer.context["title"]) if answer.status_code == 200 else f"answered {answer.status_code}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.model.__name__)
def test_what_pages_are_found_by_is_unique(page: Any) -> None:
    assert page.opts.get_field(page.public_id).unique


def test_a_name_that_is_a_number_is_no_row_number(desk: Desk) -> None:
    client = desk("root")
    make_session("first"), make_session("second")
    for name in ("2", "1"):
        row = make_session(name)
        assert heading(client, addresses.of(row)) == name
        assert heading(client, addresses.of_verb(row, "say")) == f"Send input: Session {name}"
        assert heading(client, f"/admin/search/?q={name}") == name
        assert (
            addresses.of(row) in client.get(reverse("admin:sessions_app_session_changelist")).content.decode()
        )
    make_route("first"), make_route("1"), make_persona("first"), make_persona("1")
    assert heading(client, addresses.of_id("route", "1")) == "Route 1"
    assert heading(client, addresses.of_id("persona", "1")) == "Persona 1"


def test_a_person_is_never_found_by_a_row_number(desk: Desk) -> None:
    client = desk("root")
    number = str(User.objects.get().pk)
    lea, _ = people.create(str(int(number) + 1), role="viewer")
    people.create("other", role="viewer")
    there = addresses.of_id("person", lea.username)
    assert heading(client, there) == f"Person {lea.username}"
    assert there in client.get(reverse("admin:sessions_app_auditentry_changelist")).content.decode()
    lea.delete()
    assert AuditEntry.objects.filter(object_id=lea.username).exists()
    assert not heading(client, there).startswith("Person")
    assert client.get(reverse("admin:auth_user_do", args=[number, "password"])).status_code == 404


@pytest.mark.parametrize("name", ["agent_24", "agent_5F24", "new", "add", "a.b-c"])
def test_every_valid_name_has_its_page(desk: Desk, name: str) -> None:
    client = desk("root")
    people.create(name, role="viewer")
    for row, title in (
        (make_session(name), name),
        (make_persona(name), f"Persona {name}"),
        (User.objects.get(username=name), f"Person {name}"),
    ):
        assert heading(client, addresses.of(row)) == title
    assert heading(client, addresses.of_verb(make_session(name), "say")) == f"Send input: Session {name}"
