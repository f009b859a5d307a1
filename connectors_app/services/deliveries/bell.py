"""A bell inside one process: a pump need not wait for its next look when its own process commits."""

import threading
from typing import Final

from kheish_site.lib.transactions import after_commit

_WAITING: Final[set[threading.Event]] = set()


def listen(event: threading.Event) -> None:
    """Set ``event`` whenever a commit of this process may have made a delivery due."""
    _WAITING.add(event)


def forget(event: threading.Event) -> None:
    """Stop setting ``event``."""
    _WAITING.discard(event)


def ring() -> None:
    """Wake the pump of this process, if it has one, after the commit. A lost ring costs a moment."""
    after_commit(_ring)


def _ring() -> None:
    for event in tuple(_WAITING):
        event.set()
