"""What this kind registers at start."""

from connectors_app.kinds.external.supervision import Sidecars
from connectors_app.services import registry
from sessions_app.services import ports


def register() -> None:
    """Add the kind, its sender and the supervision of child processes; called once, at start."""
    registry.register_kind("external", "connectors_app.kinds.external.kind.ExternalKind")
    registry.register_sender("external", "connectors_app.kinds.external.sender.ExternalSender")
    ports.register_background(Sidecars)
