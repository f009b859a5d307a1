"""Leaving cleanly when the server is asked to stop: streams end, requests in flight are answered.

Daphne cancels its requests then, which Django does not pass on to the part that is answering, and
forgets to wait when a WebSocket is open (seen with 4.2). So we wait ourselves, for a moment.
"""

import asyncio
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from kheish_site.lib.http import Asgi

GRACE_SECONDS: Final = 1.5
_answering: Final[set[asyncio.Future[None]]] = set()
_actions: Final[list[Callable[[], None]]] = []


def at_shutdown(action: Callable[[], None]) -> None:
    """Call ``action`` in the event loop's thread when the server begins to shut down."""
    _actions.append(action)


def finishing(application: Asgi) -> Asgi:
    """Return ``application`` made to finish, for a moment, what it answers when the server stops."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        _watch_for_shutdown()
        task = asyncio.ensure_future(application(scope, receive, send))
        _answering.add(task)
        task.add_done_callback(_answering.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=GRACE_SECONDS)
            task.cancel()
            raise

    return answer


@cache
def _watch_for_shutdown() -> None:
    """Daphne runs on a Twisted reactor, which says so; with another server requests are just cancelled."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is not None:
        deferred: Any = sys.modules["twisted.internet.defer"]
        leave: Any = lambda: deferred.Deferred.fromFuture(asyncio.ensure_future(_leave()))  # noqa: E731
        reactor.addSystemEventTrigger("before", "shutdown", leave)


async def _leave() -> None:
    for action in _actions:
        action()
    if _answering:
        await asyncio.wait(_answering, timeout=GRACE_SECONDS)
