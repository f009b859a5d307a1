"""What a sidecar serves: its manifest and its health, fetched over the same pinned HTTP as deliveries."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from connectors_app.kinds.external.names import CHILD, TOKEN
from connectors_app.models import Connector
from connectors_app.services import connectors, outbound
from connectors_app.services.contracts import SendFailure
from kheish_site.lib.transactions import release_connection

VERSION: Final = 1
MANIFEST_SECONDS: Final = 30.0
"""How long a manifest is trusted before it is fetched again."""
READY: Final = ("ready", "degraded")
_STATUSES: Final = ("starting", *READY, "draining")
_ASK_SECONDS: Final = 5.0
_CAPABILITIES: Final = {"attachments_in": True, "attachments_out": True, "threads": False, "idempotent": True}


class SidecarUnwell(Exception):
    """The sidecar is away, or does not speak the protocol. The message is safe to show."""


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """Where a sidecar is, and the token it knows us by."""

    name: str
    base_url: str
    token: str = field(repr=False)
    allow_private: bool

    def headers(self) -> dict[str, str]:
        """Return what every request carries."""
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"X-Kheish-External-Protocol-Version": str(VERSION), **bearer}

    def url(self, path: str) -> str:
        """Return the address of a resource."""
        return self.base_url.rstrip("/") + path


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a sidecar declares about itself."""

    instance_id: str
    capabilities: Mapping[str, bool]
    experimental: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as the row and the views keep it."""
        return {
            "protocol_version": VERSION,
            "instance_id": self.instance_id,
            "capabilities": dict(self.capabilities),
            "experimental": self.experimental,
        }


def sidecar_of(connector: Connector) -> Sidecar:
    """Return how to reach the connector's sidecar. Raises: Unavailable(connector_secret_unreadable)."""
    settings = connector.settings
    return Sidecar(
        name=connector.name,
        base_url=settings["base_url"],
        token=connectors.secret(connector, TOKEN),
        allow_private=settings["allow_private_network"] or settings["mode"] == CHILD,
    )


def fetch_manifest(sidecar: Sidecar) -> Manifest:
    """Ask for the manifest. Raises: SidecarUnwell."""
    answer = _ask(sidecar, "/manifest")
    capabilities = answer.get("capabilities")
    if not isinstance(capabilities, dict):
        raise SidecarUnwell("the manifest names no capabilities")
    known = {name: capabilities.get(name, default) for name, default in _CAPABILITIES.items()}
    if not all(isinstance(value, bool) for value in known.values()):
        raise SidecarUnwell("a capability of the manifest is neither true nor false")
    return Manifest(
        instance_id=_instance(answer), capabilities=known, experimental=answer.get("experimental") is True
    )


def fetch_health(sidecar: Sidecar) -> tuple[str, str]:
    """Ask for instance and status. Raises: SidecarUnwell."""
    answer = _ask(sidecar, "/health")
    if answer.get("status") not in _STATUSES:
        raise SidecarUnwell("the health names no known status")
    return _instance(answer), str(answer["status"])


def _ask(sidecar: Sidecar, path: str) -> dict[str, Any]:
    request = httpx.Request("GET", sidecar.url(path), headers=sidecar.headers())
    release_connection()
    try:
        answer = outbound.exchange(request, allow_private=sidecar.allow_private, timeout_seconds=_ASK_SECONDS)
    except SendFailure as failure:
        raise SidecarUnwell(f"{path}: {failure.message}") from failure
    body = json_object(answer.body)
    if answer.status != 200 or body is None:
        raise SidecarUnwell(f"{path} answers {answer.status} and no object of the protocol")
    if body.get("protocol_version") != VERSION:
        raise SidecarUnwell(f"{path} speaks another version than {VERSION}")
    return body


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the object in ``body``, None when there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _instance(answer: Mapping[str, Any]) -> str:
    instance_id = answer.get("instance_id")
    if not isinstance(instance_id, str) or not instance_id.strip() or len(instance_id) > 200:
        raise SidecarUnwell("the instance_id is not a text of 1 to 200 characters")
    return instance_id


class Manifests:
    """Manifests this process has fetched lately, by connector and revision. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[int, int], tuple[float, Manifest]] = {}

    def get(self, connector: Connector) -> Manifest:
        """Return the manifest, fetched again when the last one is old. No transaction may be open.

        Raises: SidecarUnwell.
        """
        key, now = (connector.pk, connector.revision), time.monotonic()
        with self._lock:
            at, found = self._seen.get(key, (float("-inf"), None))
        if found is not None and now - at < MANIFEST_SECONDS:
            return found
        fresh = fetch_manifest(sidecar_of(connector))
        self.put(connector, fresh)
        return fresh

    def put(self, connector: Connector, manifest: Manifest) -> None:
        """Remember a manifest that was just fetched."""
        now = time.monotonic()
        with self._lock:
            self._seen = {k: v for k, v in self._seen.items() if now - v[0] < MANIFEST_SECONDS}
            self._seen[(connector.pk, connector.revision)] = (now, manifest)

    def forget(self, connector: Connector) -> None:
        """Forget a connector's manifest, so that it is fetched at its next use."""
        with self._lock:
            self._seen = {k: v for k, v in self._seen.items() if k[0] != connector.pk}


MANIFESTS: Final = Manifests()
