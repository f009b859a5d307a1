"""What a stream shows: one session, one run, or everything that passes a filter.

A source is stateless. Its ``page`` reads rows (in a reader thread); the rest judges single events.
"""

from dataclasses import dataclass
from typing import Final, Generic, Protocol

from sessions_app.services import events
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import Event, Filters, P, Page, Place
from sessions_app.services.principal import Principal

DELTA_KIND: Final = "message.delta"
ENDED_KIND: Final = "run.ended"
TERMINAL_KINDS: Final = frozenset({"run.completed", "run.failed", "run.cancelled", "run.interrupted"})


class Source(Protocol[P]):
    """One kind of stream; ``topic`` is the session whose growth feeds it, None for all sessions."""

    @property
    def topic(self) -> int | None: ...

    def page(self, after: P, limit: int) -> Page[P]:
        """Read rows after a place."""

    def at(self, event: Event) -> P:
        """Return the event's place in this stream."""

    def wants(self, event: Event) -> bool:
        """Tell whether a live event of the topic belongs to this stream."""

    def wants_delta(self, delta: Delta) -> bool:
        """Tell whether live text belongs to this stream."""

    def ended_by(self, event: Event) -> str:
        """Return the final status that ``event`` brings to this stream, or ""."""


@dataclass(frozen=True, kw_only=True)
class SessionSource:
    """Everything that happens in one session."""

    session_pk: int

    @property
    def topic(self) -> int:
        return self.session_pk

    def page(self, after: int, limit: int) -> Page[int]:
        return events.session_page(self.session_pk, after=after, limit=limit)

    def at(self, event: Event) -> int:
        return event.seq

    def wants(self, event: Event) -> bool:
        return True

    def wants_delta(self, delta: Delta) -> bool:
        return True

    def ended_by(self, event: Event) -> str:
        return ""


@dataclass(frozen=True, kw_only=True)
class RunSource:
    """What one run did; it ends with the run."""

    session_pk: int
    run_pk: int
    run_id: str

    @property
    def topic(self) -> int:
        return self.session_pk

    def page(self, after: int, limit: int) -> Page[int]:
        return events.run_page(self.run_pk, after=after, limit=limit)

    def at(self, event: Event) -> int:
        return event.seq

    def wants(self, event: Event) -> bool:
        return event.run_pk == self.run_pk

    def wants_delta(self, delta: Delta) -> bool:
        return delta.run_pk == self.run_pk

    def ended_by(self, event: Event) -> str:
        return event.kind.removeprefix("run.") if event.kind in TERMINAL_KINDS else ""


@dataclass(frozen=True, kw_only=True)
class EverySource:
    """All sessions, filtered. Live text only if asked for: by kind, or by naming one session or run."""

    filters: Filters

    @property
    def topic(self) -> None:
        return None

    def page(self, after: Place, limit: int) -> Page[Place]:
        return events.global_page(after, limit=limit, filters=self.filters)

    def at(self, event: Event) -> Place:
        return event.place

    def wants(self, event: Event) -> bool:
        return self.filters.match(event)

    def wants_delta(self, delta: Delta) -> bool:
        session, run, kinds = self.filters.session_pk, self.filters.run_pk, self.filters.kinds
        asked = DELTA_KIND in kinds if kinds else session is not None or run is not None
        return asked and session in (None, delta.session_pk) and run in (None, delta.run_pk)

    def ended_by(self, event: Event) -> str:
        return ""


@dataclass(frozen=True, kw_only=True)
class Opened(Generic[P]):
    """A stream somebody may read: from where, and up to where the journal was when we looked.

    ``status`` is set when the run was already over, so that nothing live is to come; ``seen`` when its
    reader has all of it. ``caller`` is who reads.
    """

    source: Source[P]
    position: P
    head: P
    caller: Principal | None = None
    status: str = ""
    seen: bool = False


AnyOpened = Opened[int] | Opened[Place]
