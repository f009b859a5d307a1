"""A list is narrowed by what it offers, and by nothing else: a lookup must not read what no page shows."""

import re
from html import unescape

import pytest
from django.contrib import admin
from django.urls import reverse

import kheish_site.urls  # noqa: F401  (registers every page, those of the apps above too)
from sessions_app.admin import addresses
from sessions_app.admin.base import ConsoleAdmin
from tests.sessions_app.admin.conftest import Desk, drive, waiting_approval

pytestmark = pytest.mark.django_db(transaction=True)
LISTS = list(admin.site._registry.values())
PRYING = ("regex", "iregex", "startswith", "contains", "icontains", "gt", "in", "range", "isnull__exact")


def test_every_list_is_one_of_ours() -> None:
    assert LISTS and all(isinstance(shown, ConsoleAdmin) for shown in LISTS)


@pytest.mark.parametrize("shown", LISTS, ids=lambda shown: shown.model.__name__)
def test_no_list_takes_a_lookup_it_does_not_offer(shown: ConsoleAdmin) -> None:
    names = ["pk", *(field.name for field in shown.opts.get_fields())]
    for name in names:
        for lookup in PRYING:
            assert not shown.lookup_allowed(f"{name}__{lookup}", "x"), (name, lookup)
    hidden = {"arguments", "payload", "secret_hash", "sealed", "password", "settings", "secrets"}
    assert not any(shown.lookup_allowed(name, "x") for name in hidden & set(names))


def test_what_no_page_shows_is_not_read_letter_by_letter(desk: Desk) -> None:
    waiting_approval(command="echo zq9XyTopSecret")
    address = reverse("admin:sessions_app_toolcall_changelist")
    viewer = desk("viewer")
    answers = [viewer.get(address, {"arguments__icontains": guess}).status_code for guess in ("zq9Xy", "no")]
    assert answers == [400, 400]


def test_every_filter_and_link_of_every_page_is_taken(desk: Desk) -> None:
    client = desk("root")
    run = drive({"text": "done"}, session_id="done")
    call = waiting_approval(command="echo").tool_call
    pages = [
        "/admin/", "/admin/tools/", "/admin/health/",
        addresses.of(run),
        addresses.of(call.run),
        addresses.of(run.session),
        addresses.of(call),
    ]  # fmt: skip
    pages += [reverse(f"admin:{shown.opts.app_label}_{shown.opts.model_name}_changelist") for shown in LISTS]
    asked = set[str]()
    for page in pages:
        text = client.get(page).content.decode()
        links = (unescape(link) for link in re.findall(r'href="([^"#]*\?[^"#]*)"', text))
        asked |= {link if link.startswith("/") else page + link for link in links}
    assert len(asked) > 50
    refused = {link for link in asked if client.get(link).status_code != 200}
    assert refused == set()
