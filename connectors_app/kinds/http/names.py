"""The names of an HTTP connector's events and conversations."""

from collections.abc import Sequence

from connectors_app.models import Connector
from kheish_site.lib.canonical import sha256_hex


def receipt_key(connector: Connector, idempotency_key: str) -> str:
    """Return the name of an event within its connector."""
    return f"http:{connector.name}:{sha256_hex(idempotency_key)[:32]}"


def natural_id(connector: Connector, keys: Sequence[str]) -> str:
    """Return the session that the first key stands for; "" without keys."""
    return f"http:{connector.name}:{sha256_hex(min(keys))[:16]}" if keys else ""
