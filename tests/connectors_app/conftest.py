"""Targets that answer, pumps that send, and outputs that are queued."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

import kheish_site.urls  # noqa: F401 (registers the console's pages, whichever test comes first)
from connectors_app.kinds.external import operators
from connectors_app.models import Delivery
from connectors_app.services import ingress
from connectors_app.services.deliveries import enqueue, health
from connectors_app.services.deliveries.pump import Pump
from kheish_site.lib.buckets import TokenBuckets
from kheish_site.lib.transactions import locked, write
from sessions_app.models import Session
from tests.support.http_target import HttpTarget

Queue = Callable[..., list[Delivery]]


@pytest.fixture
def target() -> Iterator[HttpTarget]:
    """A target that takes everything."""
    with HttpTarget() as made:
        yield made


@pytest.fixture
def pace(settings: Any) -> Callable[..., None]:
    """Set the pace of deliveries."""

    def change(**fields: Any) -> None:
        made = replace(settings.KHEISH.deliveries, **fields)
        settings.KHEISH = replace(settings.KHEISH, deliveries=made)

    return change


@pytest.fixture
def hurried(pace: Callable[..., None]) -> None:
    """Retries after milliseconds, a circuit that never opens."""
    pace(initial_retry_ms=5, max_retry_ms=20, circuit_failure_threshold=0, timeout_seconds=2)


@pytest.fixture
def pump() -> Iterator[Callable[..., Pump]]:
    """Start pumps; they end with the test."""
    made: list[Pump] = []

    def start(name: str = "worker-1") -> Pump:
        found = Pump()
        found.start(name)
        made.append(found)
        return found

    yield start
    for one in made:
        with suppress(RuntimeError):
            one.stop()
        for thread in one.threads():
            thread.join(10)


def say(session: Session, handle: Any, *words: str, run: Any = None, **more: Any) -> list[Delivery]:
    """Queue words for one handle, each with a key of its own."""
    made = []
    for word in words:
        with write():
            locked(Session.objects.filter(pk=session.pk)).first()
            made += enqueue(
                session, run, targets=[handle], key=more.pop("key", f"test:{word}"), content=word, **more
            )
    return made


@pytest.fixture(autouse=True)
def held_back(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Refusals are written at most once a second, by connector; every test has its own second.

    What a thread would write when it is over is in here: call it.
    """
    rest: list[Callable[[], None]] = []

    def later(seconds: float, write_rest: Callable[..., None], arguments: list[Any]) -> Any:
        return SimpleNamespace(start=lambda: rest.append(partial(ingress._write_refusals, *arguments)))

    monkeypatch.setattr(ingress, "_REFUSALS", ingress._Refusals())
    monkeypatch.setattr(ingress, "threading", SimpleNamespace(Timer=later))
    return rest


@pytest.fixture(autouse=True)
def full_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Primary keys come again after a rollback; every test has buckets of its own."""
    monkeypatch.setattr(ingress, "_BUCKETS", TokenBuckets())


@pytest.fixture(autouse=True)
def nothing_counted_yet() -> None:
    """A process remembers totals for some seconds; every test has its own rows."""
    health._TOTALS.forget()
    operators._RECEIPTS.forget()
