"""Ending streams cleanly when the server is asked to stop."""

import sys
from collections.abc import Callable
from typing import Any


def on_shutdown(action: Callable[[], Any]) -> None:
    """Call ``action`` when daphne begins to shut down.

    Daphne runs on a Twisted reactor and cancels its requests then, which Django does not pass on to
    the part that sends a response. Other servers have no such place; there requests are cancelled.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is not None:
        reactor.addSystemEventTrigger("before", "shutdown", action)
