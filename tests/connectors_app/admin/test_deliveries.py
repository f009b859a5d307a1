"""The pages of deliveries and targets: what they show, and that their verbs are the services'."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from connectors_app.models import Delivery, DeliveryTarget
from connectors_app.services.contracts import Ambiguous, Refused
from connectors_app.services.deliveries import claims
from sessions_app.admin import addresses
from sessions_app.models import Session
from tests.connectors_app.conftest import say
from tests.factories import make_session
from tests.sessions_app.admin.conftest import Desk, desk

__all__ = ["desk"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
HOOK = {"plugin": "http", "address": {"url": "http://example.com/canary", "headers": {"x-a": "canary-4711"}}}


@pytest.fixture
def session() -> Session:
    return make_session("desk")


def settled(session: Session, word: str, outcome: Any) -> Delivery:
    (row,) = say(session, HOOK, word)
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    claims.settle(work, outcome, go_on=False)
    row.refresh_from_db()
    return row


def do(client: Any, row: Any, verb: str, **fields: Any) -> str:
    answer = client.post(addresses.of_verb(row, verb), {"confirmed": "yes", **fields})
    return " | ".join(str(message) for message in get_messages(answer.wsgi_request))


def page(client: Any, row: Any) -> str:
    name = f"admin:connectors_app_{row._meta.model_name}"
    lists = client.get(reverse(f"{name}_changelist"))
    one = client.get(addresses.of(row))
    assert (lists.status_code, one.status_code) == (200, 200)
    return str(lists.content.decode() + one.content.decode())


def test_dead_letters_are_replayed_and_resolved(desk: Desk, session: Session) -> None:
    dead = settled(session, "dead words", Refused("terminal", "the target answered 410"))
    client = desk("operator")
    text = page(client, dead)
    assert "dead words" in text and "the target answered 410" in text and dead.target.name in text
    assert "canary" not in text and "example.com" not in text
    assert "sent again" in do(client, dead, "replay").lower()
    assert "Replayed before" in do(client, dead, "replay")
    assert Delivery.objects.filter(replayed_from=dead).count() == 1
    assert "resolved" in do(client, dead, "resolve", reason="by phone").lower()
    dead.refresh_from_db()
    assert (dead.resolved_by, dead.resolution_reason) == ("operator", "by phone")


@pytest.mark.parametrize("outcome", ["happened", "not_happened", "give_up"])
def test_doubts_are_decided(desk: Desk, session: Session, outcome: str) -> None:
    doubt = settled(session, "doubtful words", Ambiguous("timeout", "silence"))
    do(desk("operator"), doubt, outcome, reason="looked")
    doubt.refresh_from_db()
    assert (doubt.decision, doubt.resolution_reason) == (outcome, "looked")


def test_targets_are_paused_resumed_and_forgiven(desk: Desk, session: Session) -> None:
    settled(session, "dead", Refused("terminal", "no"))
    target, client = DeliveryTarget.objects.get(), desk("operator")
    assert "canary" not in page(client, target)
    do(client, target, "pause")
    target.refresh_from_db()
    assert target.paused_by == "operator" and "paused" in page(client, target)
    do(client, target, "resume")
    DeliveryTarget.objects.update(failures=3)
    do(client, target, "reset")
    target.refresh_from_db()
    assert (target.paused_at, target.failures) == (None, 0)


def test_viewers_look_and_touch_nothing(desk: Desk, session: Session) -> None:
    dead = settled(session, "dead", Refused("terminal", "no"))
    client = desk("viewer")
    assert dead.target.name in page(client, dead)
    do(client, dead, "replay")
    do(client, dead.target, "pause")
    assert Delivery.objects.count() == 1
    assert DeliveryTarget.objects.get().paused_at is None
