"""The kind and the sender of HTTP, made known at start."""

from connectors_app.kinds.http.kind import HttpKind
from connectors_app.kinds.http.sender import HttpSender
from connectors_app.services import registry


def register() -> None:
    """Register both. Called once, from ``ConnectorsConfig.ready``."""
    registry.register_kind(HttpKind())
    registry.register_sender(HttpSender())
