"""One multiplexer a process: it hears the doorbell, reads each session once, and feeds every client.

Everything here runs in the event loop's thread; only the reads happen elsewhere. The hub works while
somebody is subscribed and lets go of its listener with the last one.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any, Final
from weakref import WeakKeyDictionary

from kheish_site.lib.errors import Unavailable
from sessions_app.services import access, events, logins
from sessions_app.services.doorbell.listening import Ears, Listener, listener
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import Event, Page, Place
from sessions_app.services.principal import Principal
from sessions_app.streams.limits import Limits
from sessions_app.streams.reading import in_reader
from sessions_app.streams.shutdown import at_shutdown
from sessions_app.streams.sources import Opened
from sessions_app.streams.subscription import Subscription, Topic

logger: Final = logging.getLogger(__name__)
POLL_SECONDS: Final = 1.0
"""How often the rows are looked at without a ring: a lost doorbell costs this much time."""
STANDING_SECONDS: Final = 5.0
"""How often whoever reads is asked for: so long a stream may outlive its token, account or login."""
_HELD_SECONDS: Final = 0.05
_MANY: Final = 50
_HEADS: Final = 500
"""Sessions that are asked for their heads at once."""


class TooManyStreams(Unavailable):
    """This process serves as many streams as it may."""

    code, domain = "too_many_streams", "events"


class Hub:
    """The subscriptions of one event loop. ``poll_seconds`` and ``source`` are for tests."""

    def __init__(self, source: Listener | None = None, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._listener = source or listener()
        self._poll_seconds = poll_seconds
        self._sessions: dict[int, Topic[int]] = {}
        self._everything: Topic[Place] | None = None
        self._grown: set[int] = set()
        self._look_everywhere = False
        self._looked = 0.0
        self._asked = 0.0
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.streams = 0
        self.sockets: set[Callable[[], None]] = set()
        """What to call so that a WebSocket leaves, whether it follows something or not."""

    @contextmanager
    def subscribe(self, opened: Opened[Any], limits: Limits) -> Iterator[Subscription[Any]]:
        """Join the stream ``opened``. Raises: TooManyStreams."""
        self.check(limits)
        topic = self._topic(opened)
        joined: Subscription[Any] = Subscription(
            opened.source,
            opened.position,
            topic,
            buffer_events=limits.buffer_events,
            caller=opened.caller,
        )
        topic.subscriptions.add(joined)
        self.streams += 1
        self._start()
        self.ring(opened.source.topic, topic.position + 1 if opened.source.topic is not None else 0)
        try:
            yield joined
        finally:
            self.streams -= 1
            joined.end()
            self._leave(opened.source.topic, topic, joined)

    def check(self, limits: Limits) -> None:
        """Raise TooManyStreams when there is no place for one more, or the process is about to stop."""
        if self._closing or self.streams >= limits.max_streams:
            raise TooManyStreams("no place for another stream; try again later", retry_after_seconds=5)

    def ring(self, session_pk: int | None, seq: int) -> None:
        """Note that a session has reached ``seq``, or with None that any may have grown."""
        if session_pk is None:
            self._look_everywhere = True
        elif session_pk in self._sessions and self._sessions[session_pk].position < seq:
            self._grown.add(session_pk)
        elif self._everything is None:
            return
        self._rung.set()

    def deliver(self, delta: Delta) -> None:
        """Hand live text to whoever follows its session or everything."""
        for topic in (self._sessions.get(delta.session_pk), self._everything):
            if topic is not None:
                topic.deliver(delta)

    def close(self) -> None:
        """End all streams cleanly and take no more: the process is about to stop."""
        self._closing = True
        for leave in self.sockets:
            leave()
        for joined in self._joined():
            joined.close()

    def _joined(self) -> list[Subscription[Any]]:
        topics = (*self._sessions.values(), self._everything)
        return [joined for topic in topics if topic is not None for joined in topic.subscriptions]

    def _topic(self, opened: Opened[Any]) -> Topic[Any]:
        key = opened.source.topic
        if key is not None:
            return self._sessions.setdefault(key, Topic(opened.head))
        self._everything = self._everything or Topic(opened.head)
        return self._everything

    def _leave(self, key: int | None, topic: Topic[Any], joined: Subscription[Any]) -> None:
        topic.subscriptions.discard(joined)
        if not topic.subscriptions:
            if key is None:
                self._everything = None
            else:
                self._sessions.pop(key, None)
        if not self.streams and self._task is not None:
            self._listener.stop()
            self._task.cancel()
            self._task = None

    def _start(self) -> None:
        if self._task is None:
            self._listener.start(Ears(ring=self.ring, delta=self.deliver))
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        failing = False
        while True:
            await self._heard()
            try:
                await self._read_sessions()
                await self._read_everything()
                await self._dismiss()
                failing = False
            except Exception:  # the task's edge: without it every stream would hear heartbeats alone
                if not failing:
                    extra = {"action": "streams.read_failed"}
                    logger.warning("streams cannot read", exc_info=True, extra=extra)
                failing, self._look_everywhere = True, True
                await asyncio.sleep(self._poll_seconds)

    async def _heard(self) -> None:
        """Wait for a ring, or until it is time to look everywhere: among many rings one may be lost."""
        clock = asyncio.get_running_loop().time
        left = self._looked + self._poll_seconds - clock()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await self._rung.wait()
            except TimeoutError:
                left = 0.0
        if left <= 0:
            self._looked, self._look_everywhere = clock(), True
        self._rung.clear()

    async def _read_sessions(self) -> None:
        if self._look_everywhere:
            self._look_everywhere = False
            await self._find_grown()
        for _ in range(0, len(self._grown), _MANY):  # what grows meanwhile has its turn after everything else
            wanted = {pk: topic.position for pk, topic in self._some_grown()}
            page = await in_reader(partial(_events, wanted)) if wanted else ()
            for pk, group in groupby(page, key=lambda event: event.session_pk):
                found = tuple(group)
                await self._publish(pk, found)
                if len(found) >= events.NEWS and pk in self._sessions:
                    self._grown.add(pk)
        if self._grown:
            self._rung.set()

    async def _find_grown(self) -> None:
        known = list(self._sessions)
        for start in range(0, len(known), _HEADS):
            heads = await in_reader(partial(events.heads, known[start : start + _HEADS]))
            for pk, head in heads.items():
                if pk in self._sessions and self._sessions[pk].position < head:
                    self._grown.add(pk)

    def _some_grown(self) -> list[tuple[int, Topic[int]]]:
        taken = [self._grown.pop() for _ in range(min(_MANY, len(self._grown)))]
        return [(pk, self._sessions[pk]) for pk in taken if pk in self._sessions]

    async def _publish(self, session_pk: int, found: tuple[Event, ...]) -> None:
        """Hand on what is new: the topic may have come anew, further on, while the rows were read."""
        topic = self._sessions.get(session_pk)
        if topic is not None and found[0].seq <= topic.position + 1 and found[-1].seq > topic.position:
            await topic.publish(found[-1].seq, tuple(event for event in found if event.seq > topic.position))

    async def _read_everything(self) -> None:
        while (topic := self._everything) is not None:
            before = topic.position
            page, found = await in_reader(partial(_everything, before))
            if found and topic.position == before:
                await topic.publish(found[-1].place, found)
            if page.held:  # rows wait for an older transaction, whose end nobody announces
                asyncio.get_running_loop().call_later(_HELD_SECONDS, self._rung.set)
            if not page.has_more:
                return

    async def _dismiss(self) -> None:
        """Now and then, close the streams of those who may read no more (``_may_read``)."""
        now = asyncio.get_running_loop().time()
        if now - self._asked < STANDING_SECONDS:
            return
        self._asked = now
        readers = {joined.caller for joined in self._joined() if joined.caller}
        gone = readers - await in_reader(partial(_may_read, readers)) if readers else readers
        for joined in self._joined() if gone else ():
            if joined.caller in gone:
                joined.close()


def _may_read(readers: Collection[Principal]) -> set[Principal]:
    """Return those whose token or account is in force, and whose login lasts, if they came by one."""
    held = access.roles_held_by({reader.name for reader in readers})
    lasting = {"", *logins.lasting({reader.login for reader in readers if reader.login})}
    return {reader for reader in readers if held.get(reader.name) and reader.login in lasting}


def _events(after: dict[int, int]) -> tuple[Event, ...]:
    pages = (events.session_news(session_pk, seq) for session_pk, seq in after.items())
    return tuple(event for page in pages for event in page.events())


def _everything(after: Place) -> tuple[Page[Place], tuple[Event, ...]]:
    page = events.global_news(after)
    return page, page.events()


_HUBS: "Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]]" = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop; a server has one."""
    loop = asyncio.get_running_loop()
    found = _HUBS.get(loop)
    if found is None:
        found = _HUBS[loop] = Hub()
        at_shutdown(found.close)
    return found
