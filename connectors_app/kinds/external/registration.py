"""What this kind hangs into the runtime."""

from connectors_app.kinds.external.kind import ExternalKind
from connectors_app.kinds.external.sender import ExternalSender
from connectors_app.kinds.external.supervision import Sidecars
from connectors_app.services import registry
from sessions_app.services import ports


def register() -> None:
    """Add the kind, its sender and the supervision of child processes; called once, at start."""
    registry.register_kind(ExternalKind())
    registry.register_sender(ExternalSender())
    ports.register_background(Sidecars)
