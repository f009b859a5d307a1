"""Driving a session: take the lease, advance its head run a phase at a time, give the lease back.

A run is a row: whichever worker takes it reads there what it needs next. A run that was running when
its worker died goes on from its last committed step.
"""

import logging
from itertools import count
from typing import Final

from django.db import DataError, IntegrityError
from django.db import Error as DatabaseError

from kheish_site.lib.crashpoints import crashpoint
from sessions_app.engine import settle, step, tools_phase
from sessions_app.engine.turn import Outcome, Phase, Turn
from sessions_app.models import WAITING, Run, RunStatus, StepStatus, ToolCallState
from sessions_app.services import external_actions, journal, leases, outward, recovery, runs, secrets
from sessions_app.services.external_actions import LedgerUnavailable
from sessions_app.services.heartbeat import Heartbeat, Hold
from sessions_app.services.writes import Entry, Lease, LeaseBusy, LeaseLost, StaleRun, StepStart

logger = logging.getLogger(__name__)
_LOOKS: Final = 3
RUNS_IN_A_ROW: Final = 4
"""Runs of one session a worker drives before it lets other sessions go first, if any are due."""


def drive(session_pk: int, heartbeat: Heartbeat) -> bool:
    """Drive one session until nothing in it can run, others have waited for a few of its runs, the worker
    drains, or the lease is lost. False for one that cannot be driven now, though it is due and stays so.

    Called by any number of workers at once for the same session: one gets the lease, the others return.
    """
    for _ in range(_LOOKS):
        run = None if heartbeat.draining.is_set() else _runnable(session_pk)
        if run is None:
            break
        if run.status == RunStatus.RUNNING and _waits_for_the_key(run):
            logger.warning("a run waits for the audit key", extra={"action": "drive", "run": run.run_id})
            return False
        opening = _opening(run)
        secrets.refresh_redaction()  # nothing this worker writes may hold a value stored meanwhile
        try:
            lease = leases.claim(run, heartbeat.owner, entries=_greeting(run), step_start=opening)
        except LeaseBusy:
            return True  # somebody else drives it; what they commit rings again
        except StaleRun:
            continue  # it moved on since it was read
        crashpoint("claimed")
        with heartbeat.hold(lease) as hold:
            _drive_runs(run, opening, lease, hold, heartbeat)
        return True
    leases.clear_expired(session_pk)
    return True


def _drive_runs(run: Run, opening: StepStart | None, lease: Lease, hold: Hold, heartbeat: Heartbeat) -> None:
    try:
        for driven in count(1):
            hold.begin(run.pk)
            turn = _turn(run, opening, lease, hold)
            _drive_run(turn)
            if turn.released:
                return
            yields = driven >= RUNS_IN_A_ROW and bool(recovery.due_sessions(limit=1))
            following = None if yields else _start_following(lease, heartbeat)
            if following is None:
                leases.release(lease)
                return
            run, opening = following
    except (LeaseLost, StaleRun):
        logger.warning("lease lost", extra={"action": "drive", "run": run.run_id, "epoch": lease.epoch})


def _drive_run(turn: Turn) -> None:
    """Advance until the run leaves this worker. The outer edge for failures that nobody foresaw.

    Such a failure may be this worker's alone, or pass: the run is left as if the worker had died, and soon
    taken over. After ``recovery.MOST_DISRUPTIONS`` of them the next one ends it.
    """
    try:
        if recovery.is_worn_out(turn.run):
            settle.fail(turn, "recovery_limit", "worker after worker died while it drove this run")
            return
        while True:
            if turn.hold.lost:
                raise LeaseLost
            if settle.stop_if_asked(turn):
                return
            if turn.hold.draining.is_set():
                settle.hand_on(turn)
                return
            advance = step.advance if turn.phase is Phase.MODEL else tools_phase.advance
            if advance(turn) is Outcome.LEFT:
                return
    except (LeaseLost, StaleRun):
        raise
    except LedgerUnavailable as error:
        # Nothing may leave without its record. What had left already stays started until the key is back.
        logger.error("ledger refused", extra={"action": "drive", "run": turn.run.run_id})
        settle.fail(turn, error.error_code, error.detail)
    except Exception as error:
        if isinstance(error, DatabaseError) and not isinstance(error, DataError | IntegrityError):
            raise  # not the run's failure: its lease runs out and it goes on from its last commit
        logger.exception("run failed unexpectedly", extra={"action": "drive", "run": turn.run.run_id})
        turn.run.status = RunStatus.RUNNING  # what it was moved to was not committed
        if recovery.may_be_disrupted(turn.run):
            settle.disrupt(turn)
        else:
            settle.fail(turn, "internal_error", "the runtime failed unexpectedly; its log has the cause")


def _runnable(session_pk: int) -> Run | None:
    run = runs.head(session_pk)
    return None if run is None or run.status in WAITING else run


def _waits_for_the_key(run: Run) -> bool:
    """Tell whether a worker died in an outward call of this run whose end no audit key can record now.

    Taking the run over now would only add to the count of workers it has lost.
    """
    started = run.tool_calls.filter(state=ToolCallState.STARTED)
    return any(map(outward.is_outward, started)) and external_actions.foreign_chains() > 0


def _opening(run: Run) -> StepStart | None:
    """Return the model call this run begins with, or None when tool calls come first.

    A new run opens step 1; one that lost its worker during a model call makes another attempt.
    """
    if run.step == 0:
        return settle.step_start(run, number=1)
    last = step.newest(run)
    if last is None or last.status == StepStatus.STARTED:
        return settle.step_start(run, number=run.step, attempt=last.attempt + 1 if last else 1)
    return None


def _greeting(run: Run) -> tuple[Entry, ...]:
    """Return the user's message, which enters the conversation when its run starts and not before."""
    if run.started_at is not None:
        return ()
    payload = {**run.input_message, "source_kind": run.source_kind, "actor_id": run.actor_id}
    return (journal.entry(run.session.session_id, "message.created", payload, run=run),)


def _start_following(lease: Lease, heartbeat: Heartbeat) -> tuple[Run, StepStart | None] | None:
    """Start the next run of a session that is already held; None when there is none for this worker."""
    while not heartbeat.draining.is_set() and (run := _runnable(lease.session_pk)) is not None:
        opening = _opening(run)
        try:
            leases.start_held(run, lease, entries=_greeting(run), step_start=opening)
        except StaleRun:
            continue  # cancelled since it was read
        crashpoint("claimed")
        return run, opening
    return None


def _turn(run: Run, opening: StepStart | None, lease: Lease, hold: Hold) -> Turn:
    return Turn(
        run=run,
        lease=lease,
        hold=hold,
        phase=Phase.MODEL if opening is not None else Phase.TOOLS,
        attempt=opening.attempt if opening is not None else 1,
    )
