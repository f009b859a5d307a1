"""One client's place in a stream, and the little that is buffered for it."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic

from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import Event, P
from sessions_app.services.principal import Principal
from sessions_app.streams.sources import Source

_AT_ONCE: Final = 8
"""Readers woken in one turn of the event loop."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[P]):
    """All that the topic holds after ``start`` up to ``end``: a reader at ``start`` misses nothing."""

    start: P
    end: P
    events: tuple[Event, ...]


@dataclass(eq=False)
class Topic(Generic[P]):
    """What the hub reads on behalf of its subscriptions; ``position`` is how far it has read."""

    position: P
    subscriptions: "set[Subscription[P]]" = field(default_factory=set)

    async def publish(self, end: P, events: tuple[Event, ...]) -> None:
        """Hand on what was read after ``position`` up to ``end``; returns when all begin to send it.

        They are woken a few at a time: what is sent in one turn of the event loop leaves the process in the
        next, and the first of many readers need not wait until everything is ready for the last. What
        happens meanwhile comes in one piece afterwards, for each sending costs more than what it sends.
        """
        batch = Batch(self.position, end, events)
        self.position = end
        readers = list(self.subscriptions)
        for subscription in readers:
            subscription.offer(batch)
        for start in range(0, len(readers), _AT_ONCE):
            for subscription in readers[start : start + _AT_ONCE]:
                subscription.wake()
            await asyncio.sleep(0)

    def deliver(self, delta: Delta) -> None:
        """Hand on live text to whoever wants it."""
        for subscription in self.subscriptions:
            if subscription.offer_delta(delta):
                subscription.wake()


class Subscription(Generic[P]):
    """Fed by its topic, drained by ``follow``; both live in one event loop."""

    def __init__(
        self,
        source: Source[P],
        position: P,
        topic: Topic[P],
        *,
        buffer_events: int,
        caller: Principal | None = None,
    ) -> None:
        self.source: Source[P] = source
        self.position: P = position
        self.caller = caller
        self.closing = False
        self._topic: Topic[P] = topic
        self._limit = buffer_events
        self._queue: deque[Batch[P] | Delta] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._due = 0.0
        self._late = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def topic_position(self) -> P:
        """How far the hub has read for everybody."""
        return self._topic.position

    @property
    def lags(self) -> bool:
        """True when the rows must be read again: what is buffered does not join on to ``position``."""
        starts = (item.start for item in self._queue if isinstance(item, Batch))
        return self.position < next(starts, self._topic.position)

    def offer(self, batch: Batch[P]) -> None:
        """Buffer a batch; a client that is too far behind loses its buffer and reads the rows again."""
        self._put(batch, len(batch.events))

    def offer_delta(self, delta: Delta) -> bool:
        """Buffer live text, which is the first to go; tell whether it was taken."""
        if self._size >= self._limit // 2 or not self.source.wants_delta(delta):
            return False
        self._put(delta, 1)
        return True

    def wake(self) -> None:
        """Tell the client's loop to look."""
        self._news.set()

    def close(self) -> None:
        """Ask the client's loop to end soon."""
        self.closing = True
        self.wake()

    def take(self) -> list[Batch[P] | Delta]:
        """Return all that is buffered, oldest first, and forget it."""
        taken = list(self._queue)
        self._queue.clear()
        self._size = 0
        return taken

    def advance(self, events: tuple[Event, ...], end: P) -> Iterator[Event]:
        """Move to ``end``, yielding those of ``events`` that are new and wanted, each once."""
        for event in events:
            if self.source.at(event) > self.position and self.source.wants(event):
                self.position = self.source.at(event)
                yield event
        self.position = max(self.position, end)

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for news; False when none came in time."""
        self._late = False
        self._due = asyncio.get_running_loop().time() + timeout_seconds
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer()
        await self._news.wait()
        self._news.clear()
        return not self._late

    def end(self) -> None:
        """Leave nothing behind in the event loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        """Look at the time when the wait is due. One timer serves many waits: too early, it is set anew."""
        self.end()
        self._timer = asyncio.get_running_loop().call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if asyncio.get_running_loop().time() < self._due:
            self._set_timer()
        else:
            self._late = True
            self.wake()

    def _put(self, item: Batch[P] | Delta, size: int) -> None:
        self._queue.append(item)
        self._size += size
        if self._size > self._limit:
            self._queue.clear()
            self._size = 0
