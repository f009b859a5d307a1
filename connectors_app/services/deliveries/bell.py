"""A bell inside one process: a pump need not wait for its next look when its own process commits."""

import threading
from typing import Final

from kheish_site.lib.transactions import after_commit

_WAITING: Final[set[threading.Event]] = set()


def listen(event: threading.Event) -> None:
    """Set ``event`` whenever a delivery may have become due by this process."""
    _WAITING.add(event)


def forget(event: threading.Event) -> None:
    """Set it no more."""
    _WAITING.discard(event)


def ring() -> None:
    """After the commit, wake the pump of this process, if it has one. Losing it costs a moment."""
    after_commit(_ring)


def _ring() -> None:
    for event in tuple(_WAITING):
        event.set()
