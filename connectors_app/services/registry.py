"""The kinds and senders, by name; filled in ``ConnectorsConfig.ready``.

Each is registered by its dotted path and imported at its first use: a process that only drives sessions
starts without the code that serves HTTP or calls platforms.
"""

from functools import cache
from typing import Any

from django.utils.module_loading import import_string

from connectors_app.models import Connector
from connectors_app.services.contracts import Kind, Sender

_KINDS: dict[str, str] = {}
_SENDERS: dict[str, str] = {}


def register_kind(name: str, path: str) -> None:
    """Add the kind whose class is at ``path``, at start. Raises ValueError for a name that is taken."""
    _add(_KINDS, name, path)


def register_sender(plugin: str, path: str) -> None:
    """Add the sender whose class is at ``path``, at start. Raises ValueError for a plugin that is taken."""
    _add(_SENDERS, plugin, path)


def kind_names() -> list[str]:
    """Return the name of every kind, in alphabetical order."""
    return sorted(_KINDS)


def plugins() -> list[str]:
    """Return every plugin that has a sender, in alphabetical order."""
    return sorted(_SENDERS)


def kind(name: str) -> Kind | None:
    """Return the kind called ``name``; the same object each time."""
    found: Kind | None = _made(_KINDS[name]) if name in _KINDS else None
    return found


def sender(plugin: str) -> Sender | None:
    """Return the sender of ``plugin``; the same object each time."""
    found: Sender | None = _made(_SENDERS[plugin]) if plugin in _SENDERS else None
    return found


def takes_from_anybody(connector: Connector) -> bool:
    """Tell whether anybody may send events to ``connector``, so that the sender they name proves nothing."""
    if not connector.settings.get("allow_unauthenticated_ingress"):
        return False
    found = kind(connector.kind)
    return found is None or found.is_open(connector.settings, sorted(connector.secrets))


def _add(known: dict[str, str], name: str, path: str) -> None:
    if name in known:
        raise ValueError(f"{name} is registered already")
    known[name] = path


@cache
def _made(path: str) -> Any:
    return import_string(path)()
