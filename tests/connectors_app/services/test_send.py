"""One attempt while the database is away: what had certainly not left is tried again."""

from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from connectors_app.services import registry
from connectors_app.services.contracts import Ambiguous, Parcel, RetryLater, Sent
from connectors_app.services.deliveries import claims, send, targets
from sessions_app.models import Session
from tests.connectors_app.conftest import say
from tests.factories import make_session

pytestmark = pytest.mark.django_db(transaction=True)
HOOK = {"plugin": "http", "address": {"url": "http://example.com/hook"}}


@pytest.fixture
def session() -> Session:
    return make_session("desk")


def attempt(session: Session, keep: Any = lambda progress: None) -> Any:
    (row,) = say(session, HOOK, "one")
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    return send.attempt(work.delivery, keep)


def away(*given: Any, **more: Any) -> Any:
    raise OperationalError("the server closed the connection")


def test_a_parcel_that_could_not_be_made(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "address_of", away)
    outcome = attempt(session)
    assert isinstance(outcome, RetryLater) and outcome.error_class == "internal"


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_sender_that_could_not_read_its_connector(
    session: Session, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(parcel: Parcel) -> Sent:
        raise error("away")

    monkeypatch.setattr(registry.sender("http"), "send", fail)
    assert isinstance(attempt(session), RetryLater)


def test_a_confirmed_part_that_could_not_be_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(parcel: Parcel) -> Sent:
        parcel.keep({"sent": [1]})
        return Sent()

    monkeypatch.setattr(registry.sender("http"), "send", parts)
    assert isinstance(attempt(session, away), Ambiguous)


def test_a_sender_that_breaks_leaves_a_question(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(parcel: Parcel) -> Sent:
        raise ZeroDivisionError

    monkeypatch.setattr(registry.sender("http"), "send", fail)
    assert isinstance(attempt(session), Ambiguous)
