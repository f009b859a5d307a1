"""WebSocket ``/ws/v1``: the same streams as SSE, many of them over one socket.

Client: ``{"op": "subscribe", "topic": "session:ID" | "run:ID" | "all", "after": n, "id": …}``,
``{"op": "unsubscribe", "topic": …}``, ``{"op": "ping"}``. Server: ``{"topic", "seq", "type", "at",
"cursor", "data"}`` for what happens, and ``subscribed``, ``unsubscribed``, ``pong`` or ``error``.
``data`` is the list item of the API, ``cursor`` what ``after`` takes to go on from there; that of
``subscribed`` is where the topic begins.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError

from kheish_site.lib.errors import BadRequest, Forbidden, KheishError, RateLimited, Unauthorized
from sessions_app.streams import limits, messages, opening
from sessions_app.streams.callers import socket_caller
from sessions_app.streams.follow import Ended, follow
from sessions_app.streams.hub import hub
from sessions_app.streams.reading import in_reader
from sessions_app.streams.sources import AnyOpened

logger: Final = logging.getLogger(__name__)
PROTOCOL: Final = "kheish.v1+json"
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
TIMED_OUT: Final = 4408
"""Closed for its age, its size or the server's stop: connect again and go on from the last cursor."""
_IDLE_SECONDS: Final = 30.0


class StreamConsumer(AsyncWebsocketConsumer):
    """One socket. Reads only: it writes no row."""

    channel_layer_alias = "none"  # the hub carries everything: no layer, and no Redis, per socket

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the socket; whatever ends it ends what it started."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sent_bytes = 0
        self._closed = False
        self._bounds = limits.configured()
        hub().sockets.add(self.leave)
        timer = asyncio.create_task(self._time())
        try:
            await super().__call__(scope, receive, send)
        finally:
            hub().sockets.discard(self.leave)
            for task in (timer, *self._tasks.values()):
                task.cancel()

    async def connect(self) -> None:
        """Accept whoever may watch; the close code tells others why not."""
        offered = self.scope.get("subprotocols") or []
        if offered and PROTOCOL not in offered:
            await self.close()  # before the handshake: a plain 403
            return
        await self.accept(PROTOCOL if offered else None)
        try:
            await in_reader(partial(socket_caller, self.scope))
        except (Unauthorized, RateLimited):
            await self._end(UNAUTHORIZED)
        except Forbidden:
            await self._end(FORBIDDEN)
        except DatabaseError:
            await self._end(TIMED_OUT)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Carry out one message; a bad one is answered, and the socket stays open."""
        if self._closed:
            return  # what a client says while it is being sent away counts no more
        message: dict[str, Any] = {}
        try:
            message = messages.read(text_data, self._bounds.max_message_bytes)
            await _OPERATIONS[message["op"]](self, message)
        except (Unauthorized, RateLimited):
            await self._end(UNAUTHORIZED)
        except KheishError as error:
            await self._reply(messages.error(error, message))
        except DatabaseError:
            logger.warning("a topic could not be opened", exc_info=True, extra={"action": "streams.open"})
            await self._end(TIMED_OUT)

    def leave(self) -> None:
        """The server is asked to stop: send the client away."""
        self._tasks[""] = asyncio.create_task(self._end(TIMED_OUT))

    async def _subscribe(self, message: dict[str, Any]) -> None:
        topic = messages.topic(message)
        if topic not in self._tasks and len(self._tasks) >= self._bounds.max_topics:
            raise BadRequest(f"one socket follows {self._bounds.max_topics} topics", code="too_many_topics")
        hub().check(self._bounds)
        opened = await in_reader(partial(self._open, topic, messages.cursor(message)))
        self._forget(topic)
        begun = {"op": "subscribed", "topic": topic, "cursor": str(opened.position)}
        await self._reply(begun | messages.echo(message))
        self._tasks[topic] = asyncio.create_task(self._follow(topic, opened))

    def _open(self, topic: str, cursor: str) -> AnyOpened:
        """Open a topic for whoever the caller is by now: a token may have been revoked since."""
        return opening.open_topic(socket_caller(self.scope), topic, cursor)

    async def _unsubscribe(self, message: dict[str, Any]) -> None:
        topic = messages.topic(message)
        self._forget(topic)
        await self._reply({"op": "unsubscribed", "topic": topic, **messages.echo(message)})

    async def _ping(self, message: dict[str, Any]) -> None:
        await self._reply({"op": "pong", **messages.echo(message)})

    async def _follow(self, topic: str, opened: AnyOpened) -> None:
        """Pass one stream on until it ends; anything but the end of a run ends the socket."""
        try:
            with hub().subscribe(opened, self._bounds) as subscription:
                async with aclosing(follow(subscription, self._bounds, status=opened.status)) as news:
                    async for items in news:
                        for item in items:
                            await self._send_text(messages.item(topic, opened.source, item))
                        if isinstance(items[-1], Ended):
                            self._tasks.pop(topic, None)
                            return
        except (DatabaseError, KheishError) as error:
            logger.warning("a topic was cut off: %s", error, extra={"action": "streams.cut"})
        await self._end(TIMED_OUT)

    def _forget(self, topic: str) -> None:
        task = self._tasks.pop(topic, None)
        if task is not None:
            task.cancel()

    async def _time(self) -> None:
        """End a socket that follows nothing after a while, and any when it is old."""
        await asyncio.sleep(min(_IDLE_SECONDS, self._bounds.max_seconds))
        if self._tasks:
            await asyncio.sleep(self._bounds.max_seconds - _IDLE_SECONDS)
        await self._end(TIMED_OUT)

    async def _end(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            await self.close(code)

    async def _reply(self, message: dict[str, Any]) -> None:
        await self._send_text(json.dumps(message, ensure_ascii=False))

    async def _send_text(self, text: str) -> None:
        """Send, and close when the socket has had its share: daphne buffers without limit."""
        if not text or self._closed:
            return
        await self.send(text)
        self._sent_bytes += len(text)
        if self._sent_bytes > self._bounds.max_bytes:
            await self._end(TIMED_OUT)


_Operation = Callable[[StreamConsumer, dict[str, Any]], Awaitable[None]]
_OPERATIONS: Final[dict[str, _Operation]] = {
    "subscribe": StreamConsumer._subscribe,
    "unsubscribe": StreamConsumer._unsubscribe,
    "ping": StreamConsumer._ping,
}
