"""Server-sent events: the parser, and a follower that outlives dropped connections and restarts.

Wire rules: WHATWG HTML, "Server-sent events". An event is only handed out once its closing blank
line arrived, so a cut in mid-event loses nothing: the service sends it again after `Last-Event-ID`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from kheish_site.cli import interrupts
from kheish_site.cli.exits import CliError, TimedOut
from kheish_site.cli.transport import (
    BROKEN,
    PASSING_STATUSES,
    Exchange,
    Problem,
    Request,
    Transport,
    Unreachable,
    read_answer,
)

MAX_LINE_BYTES = 16 * 1024 * 1024
IDLE_SECONDS = 45.0  # heartbeats come every 10 to 15 s; three missed ones are a dead connection
PATIENCE_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class StreamEvent:
    """One event. `id` is empty for live extras such as token deltas, which may be lost."""

    name: str
    id: str
    data: Any


class Lines(Protocol):
    def readline(self, limit: int = ..., /) -> bytes: ...


class _Dropped(Exception):
    """The connection ended without the stream being over."""


def parse(source: Lines) -> Iterator[StreamEvent]:
    """Events up to the end of `source`; comments and an unfinished last event are left out.

    An event without data is given too when it has an id, since it moves the resume point.
    """
    name, last_id = "", ""
    data: list[str] = []
    while line := source.readline(MAX_LINE_BYTES):
        if len(line) >= MAX_LINE_BYTES:
            raise CliError(
                "the service sent an event that is too large", cure="Page over the events instead."
            )
        if not line.endswith(b"\n"):
            return
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        key, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            if data or last_id:
                yield StreamEvent(name=name or "message", id=last_id, data=_load("\n".join(data)))
            name, last_id, data = "", "", []
        elif key == "event":
            name = value
        elif key == "id" and "\0" not in value:
            last_id = value
        elif key == "data":
            data.append(value)


class _TimedLines:
    """Lines of an answer, each awaited no longer than `wait_seconds()` allows at that moment."""

    def __init__(self, exchange: Exchange, wait_seconds: Callable[[], float]) -> None:
        self._exchange = exchange
        self._wait_seconds = wait_seconds

    def readline(self, limit: int = -1, /) -> bytes:
        self._exchange.sock.settimeout(self._wait_seconds())
        return self._exchange.response.readline(limit)


class Follower:
    """Iterates over one stream, reconnecting by `Last-Event-ID` until it ends.

    path: of the stream. cursor: where to begin (`0` from the start, None for live only).
    last_event: the event name after which nothing follows; without it the stream has no end.
    deadline: `time.monotonic()` value after which TimedOut is raised.
    patience_seconds: how long an outage may last before Unreachable is raised. An address that never
    answered at all raises at once.
    on_outage: called once per outage, for a word to the person.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        *,
        query: dict[str, object] | None = None,
        cursor: str | None = None,
        last_event: str = "",
        deadline: float | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        on_outage: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._path = path
        self._query = query or {}
        self._cursor = cursor
        self._last_event = last_event
        self._deadline = deadline
        self._patience_seconds = patience_seconds
        self._on_outage = on_outage
        self._resume_id = ""
        self._opened_at = 0.0
        self._lost_at: float | None = None
        self._failures = 0
        self._connected_once = False

    def __iter__(self) -> Iterator[StreamEvent]:
        while True:
            try:
                for event in self._connection():
                    yield event
                    if event.name == self._last_event:
                        return
                return
            except _Dropped as dropped:
                self._pause(dropped)

    def _connection(self) -> Iterator[StreamEvent]:
        """The new events of one connection. Returns at a 204, raises _Dropped at any other end."""
        exchange = self._open()
        try:
            if exchange.response.status == 204:
                return
            for event in parse(_TimedLines(exchange, self._wait_seconds)):
                self._lost_at, self._failures = None, 0
                if not self._seen(event):
                    yield event
            raise _Dropped("the connection was closed")
        except BROKEN as error:
            raise _Dropped(str(error)) from error
        finally:
            exchange.close()

    def _open(self) -> Exchange:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        query = dict(self._query)
        if self._resume_id:
            headers["Last-Event-ID"] = self._resume_id
        elif self._cursor is not None:
            query["cursor"] = self._cursor
        request = Request(method="GET", path=self._path, query=query, headers=headers)
        try:
            exchange = self._transport.open(request, timeout_seconds=self._wait_seconds())
        except Unreachable as error:
            if error.refused and not self._connected_once:
                raise
            raise _Dropped(error.reason) from error
        self._connected_once, self._opened_at = True, time.monotonic()
        if exchange.response.status not in (200, 204):
            raise _refusal(exchange)
        return exchange

    def _seen(self, event: StreamEvent) -> bool:
        """Note the resume point; true for what was handed out before or carries nothing."""
        if not event.id:
            return event.data is None
        if event.id == self._resume_id and event.name != self._last_event:
            return True
        if event.id.isdecimal() and self._resume_id.isdecimal() and int(event.id) < int(self._resume_id):
            return True
        self._resume_id = event.id
        return event.data is None

    def _wait_seconds(self) -> float:
        if self._deadline is None:
            return IDLE_SECONDS
        left = self._deadline - time.monotonic()
        if left <= 0.02:
            raise TimedOut()
        return min(IDLE_SECONDS, left)

    def _pause(self, dropped: _Dropped) -> None:
        """Wait with growing, jittered pauses. Raises TimedOut, or Unreachable when patience is over."""
        limit = self._wait_seconds()
        now = time.monotonic()
        if self._opened_at and now - self._opened_at > LONGEST_PAUSE_SECONDS:
            self._lost_at, self._failures = None, 0  # it did hold for a while: a new outage
        self._opened_at = 0.0
        if self._lost_at is None:
            self._lost_at = now
            self._on_outage()
        if now - self._lost_at > self._patience_seconds:
            raise Unreachable(self._transport.base_url, str(dropped), refused=True)
        self._failures += 1
        ceiling = min(LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(self._failures, 10))
        interrupts.pause(min(limit, random.uniform(ceiling / 2, ceiling)))  # noqa: S311 - jitter


def _refusal(exchange: Exchange) -> Problem | _Dropped:
    """The exception for a stream that was not granted; passing troubles count as a dropped connection."""
    try:
        read_answer(exchange.response, exchange.response.read(1_000_000))
    except Problem as problem:
        return _Dropped(problem.detail) if problem.status in PASSING_STATUSES else problem
    except BROKEN as error:
        return _Dropped(str(error))
    finally:
        exchange.close()
    return _Dropped(f"unexpected status {exchange.response.status}")


def _load(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
