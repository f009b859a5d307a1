"""The loop of one client: catch up from rows, then live, and back to rows whenever something is missing."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from functools import partial

from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import Event, P
from sessions_app.streams.limits import Limits
from sessions_app.streams.reading import in_reader
from sessions_app.streams.subscription import Batch, Subscription


@dataclass(frozen=True)
class Ended:
    """The run is over and everything of it was sent; the last item of its stream."""

    status: str


@dataclass(frozen=True)
class Heartbeat:
    """Nothing happened for a while."""


Item = Event | Delta | Ended | Heartbeat


async def follow(
    subscription: Subscription[P], limits: Limits, *, status: str = ""
) -> AsyncGenerator[tuple[Item, ...], None]:
    """Yield every event after the subscription's position once and in order, with live text between.

    What came together is yielded together, so that it can be sent together.
    ``status`` is that of a run known to be over. Ends with the run, at the age limit, or when the hub
    closes. Raises: DatabaseError when the rows cannot be read; the client resumes.
    """
    deadline = asyncio.get_running_loop().time() + limits.max_seconds
    more = bool(status)  # what is over is read to its last row, however far the hub has come
    while not subscription.closing and (left := deadline - asyncio.get_running_loop().time()) > 0:
        if more or subscription.lags:
            events, end, more = await _read(subscription, limits)
            fresh: tuple[Event | Delta, ...] = tuple(subscription.advance(events, end))
        elif status:
            yield (Ended(status),)
            return
        else:
            taken = subscription.take()
            if not taken and not await subscription.wait(min(limits.heartbeat_seconds, left)):
                yield (Heartbeat(),)
            fresh = tuple(_fresh(subscription, taken))
        if fresh:
            yield fresh
        for item in fresh:
            if not isinstance(item, Delta):
                status = status or subscription.source.ended_by(item)


def _fresh(subscription: Subscription[P], taken: list[Batch[P] | Delta]) -> Iterator[Event | Delta]:
    for item in taken:
        if isinstance(item, Delta):
            yield item
        else:
            yield from subscription.advance(item.events, item.end)


async def _read(subscription: Subscription[P], limits: Limits) -> tuple[tuple[Event, ...], P, bool]:
    """Return a page of rows, the place it reaches, and whether there are more after it.

    The hub's place is noted first: a page that is not full was read later, so it holds all up to there.
    """
    source, position, known = subscription.source, subscription.position, subscription.topic_position
    events, full = await in_reader(partial(_page, subscription, limits.page_rows))
    last = source.at(events[-1]) if events else position
    return events, last if full else max(last, known), full


def _page(subscription: Subscription[P], limit: int) -> tuple[tuple[Event, ...], bool]:
    page = subscription.source.page(subscription.position, limit)
    return page.events(), page.has_more
