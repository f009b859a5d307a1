"""One client's place in a stream, and the little that is buffered for it."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic

from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import Event, P
from sessions_app.streams.sources import Source


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

    def publish(self, end: P, events: tuple[Event, ...]) -> None:
        """Hand on what was read after ``position`` up to ``end``."""
        batch = Batch(self.position, end, events)
        self.position = end
        for subscription in self.subscriptions:
            subscription.offer(batch)


class Subscription(Generic[P]):
    """Fed by the hub, drained by ``follow``; both live in one event loop."""

    def __init__(self, source: Source[P], position: P, topic: Topic[P], *, buffer_events: int) -> None:
        self.source: Source[P] = source
        self.position: P = position
        self.closing = False
        self._topic: Topic[P] = topic
        self._limit = buffer_events
        self._queue: deque[Batch[P] | Delta] = deque()
        self._size = 0
        self._news = asyncio.Event()

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

    def offer_delta(self, delta: Delta) -> None:
        """Buffer live text; it is the first to go."""
        if self._size < self._limit // 2 and self.source.wants_delta(delta):
            self._put(delta, 1)

    def close(self) -> None:
        """Ask the client's loop to end soon."""
        self.closing = True
        self._news.set()

    def take(self) -> Batch[P] | Delta | None:
        """Return the oldest buffered item, or None."""
        if not self._queue:
            return None
        item = self._queue.popleft()
        self._size -= len(item.events) if isinstance(item, Batch) else 1
        return item

    def advance(self, events: tuple[Event, ...], end: P) -> Iterator[Event]:
        """Move to ``end``, yielding those of ``events`` that are new and wanted, each once."""
        for event in events:
            if self.source.at(event) > self.position and self.source.wants(event):
                self.position = self.source.at(event)
                yield event
        self.position = max(self.position, end)

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for news; False when none came in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def _put(self, item: Batch[P] | Delta, size: int) -> None:
        self._queue.append(item)
        self._size += size
        if self._size > self._limit:
            self._queue.clear()
            self._size = 0
        self._news.set()
