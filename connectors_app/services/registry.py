"""The kinds and senders there are, by name; filled in ``ConnectorsConfig.ready``."""

from connectors_app.models import Connector
from connectors_app.services.contracts import Kind, Sender

_KINDS: dict[str, Kind] = {}
_SENDERS: dict[str, Sender] = {}


def register_kind(kind: Kind) -> None:
    """Add a kind, at start. Raises ValueError for a name that is taken."""
    if kind.name in _KINDS:
        raise ValueError(f"there is a kind {kind.name} already")
    _KINDS[kind.name] = kind


def register_sender(sender: Sender) -> None:
    """Add a sender, at start. Raises ValueError for a plugin that is taken."""
    if sender.plugin in _SENDERS:
        raise ValueError(f"there is a sender {sender.plugin} already")
    _SENDERS[sender.plugin] = sender


def kinds() -> dict[str, Kind]:
    """Return every kind by name, in alphabetical order."""
    return dict(sorted(_KINDS.items()))


def senders() -> dict[str, Sender]:
    """Return every sender by plugin, in alphabetical order."""
    return dict(sorted(_SENDERS.items()))


def takes_from_anybody(connector: Connector) -> bool:
    """Tell whether events of ``connector`` may come from anybody, so that nobody in them is who they say."""
    if not connector.settings.get("allow_unauthenticated_ingress"):
        return False
    kind = _KINDS.get(connector.kind)
    return kind is None or kind.is_open(connector.settings, sorted(connector.secrets))
