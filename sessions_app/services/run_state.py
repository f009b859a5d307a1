"""The run's state machine: every edge, and the one function that moves a run along one.

submit ─▶ queued ─▶ running ─▶ completed | failed | cancelled | interrupted
             ▲         │
             └─ waiting_for_approval | _user_question | _operator | _budget
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from kheish_site.lib import clock
from kheish_site.lib.errors import Conflict
from sessions_app.models import TERMINAL, WAITING, Run, RunStatus
from sessions_app.services import journal, writes
from sessions_app.services.writes import Change, Committed, Entry, Lease, Move, StepEnd

QUEUED, RUNNING = RunStatus.QUEUED, RunStatus.RUNNING
_ENDED_EARLY: Final = frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.INTERRUPTED})

EDGES: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    # QUEUED -> FAILED: its route vanished, or a resumed run cannot be driven.
    QUEUED: frozenset({RUNNING}) | _ENDED_EARLY,
    # RUNNING -> QUEUED: a draining worker hands the run on. A dead worker's run stays RUNNING and is
    # taken over with its lease.
    RUNNING: frozenset({QUEUED, RunStatus.COMPLETED}) | WAITING | _ENDED_EARLY,
    # One wait may become another: the last approval of a batch was decided, a question is still open.
    **{status: (WAITING - {status}) | {QUEUED} | _ENDED_EARLY for status in sorted(WAITING)},
    **{status: frozenset() for status in sorted(TERMINAL)},
}

_KINDS: Final[Mapping[RunStatus, str]] = {
    RUNNING: "run.started",
    RunStatus.COMPLETED: "run.completed",
    RunStatus.FAILED: "run.failed",
    RunStatus.CANCELLED: "run.cancelled",
    RunStatus.INTERRUPTED: "run.interrupted",
}


class IllegalTransition(Conflict):
    """There is no such edge."""

    code, domain = "run_state_conflict", "runs"


def move(run: Run, to: RunStatus, fields: Mapping[str, Any] | None = None) -> Move:
    """Return the guarded change of ``run`` from its status to ``to`` and what it means to its session.

    Raises: IllegalTransition.
    """
    was = RunStatus(run.status)
    if to not in EDGES[was]:
        raise IllegalTransition(f"a {was} run cannot become {to}", run_id=run.run_id, run_status=str(was))
    columns: dict[str, Any] = dict(fields or {})
    if to in TERMINAL:
        columns["finished_at"] = clock.now()
    blocked = True if to in WAITING else (False if was in WAITING else None)
    return Move(
        run_pk=run.pk,
        was=was,
        to=to,
        queued=(to == QUEUED) - (was == QUEUED),
        blocked=blocked,
        fields=columns,
    )


def staying(run: Run, fields: Mapping[str, Any]) -> Move:
    """Return the change of a running run that goes on running: ``fields`` alone."""
    return Move(run_pk=run.pk, was=RUNNING, to=RUNNING, fields=fields)


def moved_entry(run: Run, session_id: str, to: RunStatus, payload: Mapping[str, Any] | None = None) -> Entry:
    """Return the journal entry that reports the move of ``run`` to ``to``."""
    body: dict[str, Any] = {"from": run.status, "to": str(to), **(payload or {})}
    if to in WAITING:
        return journal.entry(session_id, "run.waiting", body, run=run)
    if to == QUEUED:
        kind = "run.resumed" if run.status in WAITING else "run.queued"
        return journal.entry(session_id, kind, body, run=run)
    return journal.entry(session_id, _KINDS[to], body, run=run)


def transition(
    run: Run,
    to: RunStatus,
    *,
    session_id: str,
    lease: Lease | None = None,
    lease_seconds: float = 0,
    payload: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    before: tuple[Entry, ...] = (),
    step_end: StepEnd | None = None,
    release: Literal["", "idle", "always"] = "",
) -> Committed:
    """Move ``run`` along one edge and journal it, or change nothing.

    ``before`` are entries of the same commit that come first. Joins an open transaction.
    Raises: IllegalTransition (no such edge), StaleRun (someone moved it first), LeaseLost.
    """
    committed = writes.commit(
        Change(
            session_pk=run.session_id,
            entries=(*before, moved_entry(run, session_id, to, payload)),
            lease=lease,
            lease_seconds=lease_seconds,
            move=move(run, to, fields),
            step_end=step_end,
            release=release,
        )
    )
    run.status = to
    for name, value in (fields or {}).items():
        setattr(run, name, value)
    return committed
