"""What one commit may say about one session: the shapes both stores understand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from kheish_site.lib.errors import Conflict, KheishError, NotFound
from sessions_app.models import Run, RunStatus, ToolCall, ToolCallState


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to drive one session: valid while ``epoch`` is the row's and the lease has not expired."""

    session_pk: int
    owner: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One journal entry before it has a place: ``digest`` is over its canonical form (``journal.entry``)."""

    kind: str
    run_pk: int | None
    payload: str
    digest: str
    at: datetime
    version: int = 1

    def decoded(self) -> Any:
        """Return the payload as a JSON value."""
        return json.loads(self.payload)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A run's change of status (``was`` == ``to`` only to set ``fields`` on a run that stays).

    ``queued`` is added to the session's count of queued runs; ``blocked`` replaces its flag.
    Made by ``run_state`` alone.
    """

    run_pk: int
    was: RunStatus
    to: RunStatus
    queued: int = 0
    blocked: bool | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepStart:
    """A model call is about to be made: a new step, or another attempt at an open one."""

    run_pk: int
    number: int
    attempt: int
    route_id: str
    model: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class StepEnd:
    """A model call has ended; ``fields`` are columns of the step."""

    run_pk: int
    number: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Advance:
    """A tool call's move along one edge: made in the instance, not yet in its row.

    ``changes`` are fields of the call, the same ones in every move of a commit. Made by ``effects`` alone.
    """

    call: ToolCall
    was: ToolCallState
    changes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One atomic change of one session.

    ``lease`` fences it; ``take`` takes the lease for that owner when it is free or expired, and nobody
    had it since the epoch was ``seen_epoch``, nor wrote anything since ``seen_seq`` was the next number;
    neither is for submitters and deciders, whom the row lock alone orders. ``accept`` inserts a run; with
    ``seen_revision`` only while the session's settings are those of that revision. ``calls`` inserts tool
    calls as they are by then, in the order of their index; ``advances`` moves calls that are in the state
    they were read in, all or none.
    ``release`` gives the lease back: ``always``, or ``idle`` unless the session has a run to drive,
    which is decided in the row that a submitter locks too, so that no wake-up is lost.
    """

    session_pk: int
    entries: tuple[Entry, ...] = ()
    lease: Lease | None = None
    take: str = ""
    seen_epoch: int | None = None
    seen_seq: int | None = None
    seen_revision: int | None = None
    lease_seconds: float = 0.0
    move: Move | None = None
    accept: Run | None = None
    step_start: StepStart | None = None
    step_end: StepEnd | None = None
    calls: tuple[ToolCall, ...] = ()
    advances: tuple[Advance, ...] = ()
    release: Literal["", "idle", "always"] = ""


@dataclass(frozen=True, kw_only=True)
class Committed:
    """Where the entries went and what the session row says now. ``released``: the lease is given back."""

    first_seq: int
    last_seq: int
    epoch: int
    queued_runs: int
    blocked: bool
    released: bool


class LeaseLost(KheishError):
    """The writer is not, or no longer, the holder of the session's lease: nothing was written."""

    code, domain, status, retryable = "lease_lost", "sessions", 409, True


class LeaseBusy(KheishError):
    """Somebody else drives the session now: nothing was written."""

    code, domain, status, retryable = "lease_busy", "sessions", 409, True


class StaleRun(Conflict):
    """The run was not in the state the change expects: somebody moved it first, nothing was written."""

    code, domain = "run_state_conflict", "runs"


class IllegalEffect(Conflict):
    """The tool call is not in a state that allows this: nothing was written."""

    code, domain = "tool_call_state_conflict", "runs"


class SessionChanged(Conflict):
    """The session's settings are no longer those the change was made from: nothing was written."""

    code, domain = "session_changed", "sessions"


class SessionEnded(Conflict):
    """The session takes no more input."""

    code, domain = "session_ended", "sessions"


class SessionMissing(NotFound):
    """No such session."""

    code, domain = "session_not_found", "sessions"
