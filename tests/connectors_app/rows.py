"""Connectors for the tests, made by the service that makes them in service."""

from itertools import count
from typing import Any

from rest_framework.test import APIClient

from connectors_app.models import Connector
from connectors_app.services import connectors
from connectors_app.services.contracts import InboundEvent
from kheish_site.lib.canonical import sha256_hex
from sessions_app.models import Route
from tests.factories import make_route

TOKEN = "ingress-token-4711-canary"
_NUMBERS = count(1)


def make_connector(
    name: str = "alerts", *, kind: str = "http", secrets: dict[str, Any] | None = None, **settings: Any
) -> Connector:
    """A connector with a bearer token, and a route for the runs it makes."""
    if not Route.objects.exists():
        make_route()
    given = {"bearer_token": {"value": TOKEN}} if secrets is None else secrets
    return connectors.put(kind, name, settings, given, principal="alice")[0]


def make_event(key: str = "", **fields: Any) -> InboundEvent:
    """An event that says one word; each its own unless ``key`` says otherwise."""
    key = key or f"event-{next(_NUMBERS)}"
    said: dict[str, Any] = {"actor_id": "somebody", "source_kind": "test", "content": "hello", **fields}
    return InboundEvent(key=key, **{"fingerprint": sha256_hex(key), **said})


def sender(token: str = TOKEN) -> APIClient:
    """A program that sends events with a bearer token."""
    client = APIClient()
    if token:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client
