"""The kind and the sender of HTTP, made known at start."""

from connectors_app.services import registry


def register() -> None:
    """Register both. Called once, from ``ConnectorsConfig.ready``."""
    registry.register_kind("http", "connectors_app.kinds.http.kind.HttpKind")
    registry.register_sender("http", "connectors_app.kinds.http.sender.HttpSender")
