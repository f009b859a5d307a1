"""Every page of connectors, deliveries, captures and files, full and empty, as it leaves the server."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connectors_app.models import ChatIdentity, Connector, Delivery
from sessions_app.admin import addresses
from sessions_app.models import Asset, ExternalAction
from tests.connectors_app.outbound import dead_letter
from tests.factories import make_session
from tests.sessions_app.admin.conftest import Desk, desk, workspaces
from tests.support import desk as rows

__all__ = ["desk", "workspaces"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


class _Reader(HTMLParser):
    """What a page has that its content policy forbids, and what names its headings and columns."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.headings = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.headings += tag == "h1"
        if tag == "style" or "style" in named or any(name.startswith("on") for name in named):
            self.inline.append(f"{tag} {attrs}")
        if tag == "script" and "src" not in named and named.get("type") != "application/json":
            self.inline.append(f"{tag} {attrs}")


def read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    return reader


def test_every_page_of_every_row_is_whole_and_tells_no_secret(desk: Desk) -> None:
    pages, client = rows.fill(), desk("root")
    assert ExternalAction.objects.exists()
    for name, path in pages.items():
        answer = client.get(path)
        assert answer.status_code == 200, name
        text = answer.content.decode()
        found = read(text)
        assert found.inline == [], name
        assert found.headings == 1, name
        assert rows.SECRET not in text and "example.org/" not in text, name
        assert not re.search(r"\{'|\['|datetime\.datetime|Traceback", text), name
        assert not re.search(r">[^<]*\d{4}-\d\d-\d\dT\d\d:", text), f"{name}: a moment nobody reads"


def test_the_inbox_leads_to_what_was_not_delivered(desk: Desk) -> None:
    client, inbox = desk("operator"), reverse("admin:console_inbox")
    assert "Nothing waits for a person" in client.get(inbox).content.decode()
    rows.fill()
    dead, unknown = Delivery.objects.get(status="dead_lettered"), Delivery.objects.get(status="unknown")
    home = client.get(reverse("admin:index")).content.decode()
    assert "2 not delivered" in home
    shown = client.get(inbox).content.decode()
    for row in (dead, unknown):
        assert reverse("admin:console_inbox_item", args=[row.delivery_id]) in shown
    page = client.get(reverse("admin:console_inbox_item", args=[unknown.delivery_id])).content.decode()
    assert "Did it arrive?" in page and "the target did not answer in time" in page
    there = reverse("admin:console_inbox_item", args=[dead.delivery_id])
    answer = client.post(there, {"verb": "resolve", "reason": "told by phone"}, follow=True)
    assert "Resolved: Delivery." in answer.content.decode()
    dead.refresh_from_db()
    assert (dead.resolved_by, dead.resolution_reason) == ("operator", "told by phone")
    settled = client.get(there).content.decode()
    assert "by operator" in settled and 'value="resolve"' not in settled


def test_the_first_page_costs_the_same_however_much_was_not_delivered(desk: Desk) -> None:
    client, home = desk("viewer"), reverse("admin:index")
    session = make_session("desk")
    costs = []
    for number in (1, 4):
        for turn in range(number):
            dead_letter(session, key=f"dead:{number}:{turn}")
        client.get(home)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(home).status_code == 200
        costs.append(len(captured))
    assert costs[0] == costs[1] <= 24


def test_pages_lead_on(desk: Desk) -> None:
    rows.fill()
    client = desk("viewer")
    delivery = Delivery.objects.get(status="unknown")
    target = client.get(addresses.of(delivery.target)).content.decode()
    assert addresses.of(delivery) in target
    of_delivery = client.get(addresses.of(delivery)).content.decode()
    assert addresses.of(Asset.objects.get(media_type="text/markdown")) in of_delivery
    alerts = Connector.objects.get(name="alerts")
    receipts = client.get(reverse("admin:connectors_app_ingressreceipt_changelist")).content.decode()
    assert addresses.of(alerts) in receipts
    ops = Connector.objects.get(name="ops")
    people = client.get(addresses.of(ops)).content.decode()
    assert addresses.of(ChatIdentity.objects.get()) in people
    for name in ("quiet", "rollcall"):
        page = desk_page(client, name)
        assert "/do/test/" not in page


def desk_page(client: Any, name: str) -> str:
    return str(client.get(addresses.of(Connector.objects.get(name=name))).content.decode())


def test_the_menu_is_ordered_by_job(desk: Desk) -> None:
    home = desk("viewer").get(reverse("admin:index")).content.decode()
    titles = re.findall(r'kh-menu-title">([^<]+)', home)
    assert titles == ["Operate", "Configure", "Govern", "More tables"]
    configure = home[home.index(">Configure<") : home.index(">Govern<")]
    for name in ("Connectors", "Delivery targets", "People in chats", "Personas", "Routes"):
        assert f"{name}</a>" in configure
    assert "Sidecars</a>" in home[home.index(">More tables<") :]
