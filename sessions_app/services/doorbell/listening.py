"""The hearing end of the doorbell, for a process that serves streams. Runs inside its event loop.

A listener calls ``Ears.ring`` when a session's journal may have grown and ``Ears.delta`` for live text.
It never fails: while its source is down it keeps trying, and the streams' own poll does the work.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from django.conf import settings
from django.db import connection

from kheish_site.lib.sqlite_watch import POLL_SECONDS, ChangeWatcher
from sessions_app.services.doorbell import embedded
from sessions_app.services.doorbell.live import Delta, decode

_DATAGRAM_BYTES: Final = 1 << 18
_BURST: Final = 200
"""Datagrams read in one go, so that a burst of text cannot keep the loop from its other work."""


@dataclass(frozen=True, kw_only=True)
class Ears:
    """What to call, always in the event loop's thread. ``ring(None, 0)``: any session may have grown."""

    ring: Callable[[int | None, int], None]
    delta: Callable[[Delta], None]


class Listener(Protocol):
    """One profile's way to hear."""

    def start(self, ears: Ears) -> None:
        """Begin; needs a running event loop."""

    def stop(self) -> None:
        """End and let go of everything; may be started again."""


def listener() -> Listener:
    """Return a listener for this installation's profile."""
    url = settings.KHEISH.redis_url
    if not url:
        return EmbeddedListener(
            database=Path(connection.settings_dict["NAME"]), state_dir=settings.KHEISH.state_dir
        )
    # Loaded only where there is a Redis: it costs half a second of start-up.
    from sessions_app.services.doorbell.redis_listener import RedisListener

    return RedisListener(url)


class EmbeddedListener:
    """Watches the database file and receives deltas on the local socket."""

    def __init__(self, *, database: Path, state_dir: Path) -> None:
        self._database = database
        self._state_dir = state_dir
        self._stop: list[Callable[[], object]] = []

    def start(self, ears: Ears) -> None:
        """Begin watching; without a socket there are no deltas, and nothing else is missing."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._watch(ears))
        self._stop.append(task.cancel)
        with suppress(OSError):
            receiver = embedded.bind(self._state_dir)
            loop.add_reader(receiver, partial(_receive, receiver, ears))
            self._stop += [partial(loop.remove_reader, receiver), receiver.close]

    def stop(self) -> None:
        """See Listener. The socket's file stays: the next to listen replaces it."""
        while self._stop:
            self._stop.pop(0)()

    async def _watch(self, ears: Ears) -> None:
        watcher = ChangeWatcher(self._database)
        watcher.changed()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if watcher.changed():
                ears.ring(None, 0)


def _receive(receiver: socket.socket, ears: Ears) -> None:
    for _ in range(_BURST):
        try:
            message = receiver.recv(_DATAGRAM_BYTES)
        except OSError:
            return
        delta = decode(message)
        if delta is not None:
            ears.delta(delta)
