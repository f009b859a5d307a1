"""External connectors for the tests."""

from typing import Any

from connectors_app.models import Connector
from tests.connectors_app.rows import TOKEN, make_connector, sender

EVENTS = "/v1/connectors/external/mail/events"
SHARED = {"shared_token": {"value": TOKEN}}


def make_external(name: str = "mail", **settings: Any) -> Connector:
    """A connector with a sidecar somewhere on the Internet."""
    given = {"platform": "email", "base_url": "https://sidecar.example.org", **settings}
    return make_connector(name, kind="external", secrets=SHARED, **given)


def make_event(**members: Any) -> dict[str, Any]:
    """What a sidecar pushes; the same each time unless ``members`` say otherwise."""
    event = {
        "instance_id": "i-1",
        "event_id": "event-1",
        "occurred_at_ms": 1_764_151_200_000,
        "actor_id": "ada@example.org",
        "thread": {"path": ["ada@example.org", "<1@example.org>"]},
        "content": "hello",
    }
    return {name: value for name, value in {**event, **members}.items() if value is not ...}


def push(event: Any = None, *, to: str = EVENTS, **members: Any) -> Any:
    """Push one event; return the response."""
    return sender().post(to, make_event(**members) if event is None else event)


def pushed(**members: Any) -> dict[str, Any]:
    """Push one event that is answered with 200; return the answer."""
    response = push(**members)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer
