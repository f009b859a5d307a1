"""Rows that many tests need, made by the services that make them in service."""

from collections.abc import Collection
from itertools import count
from typing import Any

from rest_framework.test import APIClient

from sessions_app.models import Asset, Persona, Right, Route, Run, SecretSlot, Session
from sessions_app.services import assets, personas, routes, runs, secrets, sessions, tokens
from sessions_app.services.personas import PersonaFields
from sessions_app.services.routes import RouteFields

_NUMBERS = count(1)


def make_client(role: str = "admin", name: str = "", *, rights: Collection[str] | None = None) -> APIClient:
    """A client with a fresh token of this role; an operator's has every right unless ``rights`` says less."""
    rights = Right.values if role == "operator" and rights is None else rights or ()
    _, secret = tokens.create(name or f"{role}-{next(_NUMBERS)}", role=role, rights=rights)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def make_persona(persona_id: str = "reviewer", **fields: Any) -> Persona:
    """A persona with one revision."""
    return personas.create(persona_id, PersonaFields(**{"soul": "You review.", **fields}), principal="alice")


def make_route(route_id: str = "scripted", *, default: bool = False, **fields: Any) -> Route:
    """A scripted route that says one word; the first one is the default."""
    script = {"script": {"turns": [{"text": "done"}]}}
    given = {"driver": "scripted", "model": "script", "options": script, **fields}
    return routes.create(route_id, RouteFields(**given), default=default)


def make_secret(slot_id: str = "main-key", value: str = "canary-4711-value") -> SecretSlot:
    """A filled slot."""
    return secrets.put(slot_id, provider="openai", value=value)[0]


def make_session(session_id: str = "desk", **more: Any) -> Session:
    """A session that alice made."""
    return sessions.create(sessions.NewSession(session_id=session_id, **more), principal="alice")[0]


def make_asset(
    data: bytes = b"pod,restarts\napi,7\n", media_type: str = "text/csv", file_name: str = "pods.csv"
) -> Asset:
    """A stored file that alice sent."""
    return assets.store(data, media_type=media_type, file_name=file_name, principal="alice")


def make_run(session: Session, text: str = "go", **more: Any) -> Run:
    """A queued run on the default route, which is made if there is none."""
    if not Route.objects.exists():
        make_route()
    return runs.submit(session.session_id, runs.NewRun(content=text, **more), principal="alice")


def code_of(response: Any) -> str:
    """The stable code of a problem answer, after a look at the rest of it."""
    assert response["Content-Type"].startswith("application/problem+json"), response.content
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["request_id"] == response["X-Request-ID"]
    assert document["type"] == f"urn:kheish:problem:{document['code']}"
    return str(document["code"])
