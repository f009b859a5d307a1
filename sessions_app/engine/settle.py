"""How a run ends or leaves a worker: each a single commit under the lease."""

from collections.abc import Mapping
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write, write_if
from sessions_app.engine.turn import Phase, Turn
from sessions_app.models import Run, RunStatus, StepStatus, ToolCallState
from sessions_app.services import journal, leases, ports, run_state, waiting
from sessions_app.services.writes import Entry, StepEnd, StepStart

DISRUPTED_SECONDS: Final = 2.0
"""Long enough for a passing failure to pass, short enough for whoever waits for the run."""
_STOP: Final = Prepared[tuple[str, str, str]](
    lambda pk: (
        Run.objects.filter(pk=pk).order_by().values_list("stop_requested", "stop_requested_by", "stop_reason")
    ),
    int,
)


def step_start(run: Run, *, number: int, attempt: int = 1) -> StepStart:
    """Return the opening of model call ``number``, with the run's pinned route and model."""
    return StepStart(
        run_pk=run.pk, number=number, attempt=attempt, route_id=run.route_id, model=run.model, at=clock.now()
    )


def complete(
    turn: Turn,
    *,
    entries: tuple[Entry, ...],
    step_end: StepEnd,
    fields: Mapping[str, Any],
    said: Mapping[str, Any] | None,
) -> None:
    """End the run well: the answer, its step and the release of the lease in one commit.

    ``said`` is the answer as an output; where the run has somebody to answer to, it leaves with the commit.
    """
    payload = {"outputs": fields["outputs"], "usage": _usage(fields)}
    told = said if turn.run.reply_targets else None
    with write_if(told is not None):
        _end(turn, RunStatus.COMPLETED, payload, fields, before=entries, step_end=step_end)
        if told is not None:
            ports.output_emitted(turn.run, told, f"{turn.run.run_id}:answer")


def fail(turn: Turn, code: str, message: str, *, step_end: StepEnd | None = None) -> None:
    """End the run as failed, with a stable code and a sentence anybody may read."""
    error = redact({"code": code, "message": message})
    _close(turn, RunStatus.FAILED, {"error": error}, {"error": error}, why=message, step_end=step_end)


def stop_if_asked(turn: Turn) -> bool:
    """Honour a request to cancel or interrupt, made before or during the last phase."""
    run = turn.run
    if turn.fresh and not turn.hold.stop.is_set():
        turn.fresh = False  # the row was read a moment ago, when the run was taken
    else:
        stop_requested(run)
    if not run.stop_requested:
        return False
    payload = {"principal": run.stop_requested_by, "reason": run.stop_reason}
    _close(turn, RunStatus(run.stop_requested), payload, {}, why=f"the run was {run.stop_requested}")
    return True


def stop_requested(run: Run) -> bool:
    """Read whether somebody asked the run to stop, and who."""
    ((run.stop_requested, run.stop_requested_by, run.stop_reason),) = _STOP.all(run.pk)
    return bool(run.stop_requested)


def hand_on(turn: Turn) -> None:
    """Give the run back to the queue's head because this worker drains; its steps stay."""
    run_state.transition(
        turn.run,
        RunStatus.QUEUED,
        session_id=turn.session_id,
        lease=turn.lease,
        lease_seconds=turn.lease_seconds,
        payload={"reason": "worker_draining"},
        release="always",
    )
    turn.released = True


def disrupt(turn: Turn) -> None:
    """Leave the run as if this worker had died: its lease runs out, now in ``DISRUPTED_SECONDS``.

    Whoever takes it over goes on from its last commit, and judges the calls that had started.
    """
    payload = {"error": {"code": "internal_error"}, "retry_in_seconds": DISRUPTED_SECONDS}
    entry = turn.entry("run.disrupted", payload)
    journal.append(turn.run.session_id, entry, lease=turn.lease, lease_seconds=DISRUPTED_SECONDS)
    turn.released = True


def _close(
    turn: Turn,
    to: RunStatus,
    payload: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    why: str,
    step_end: StepEnd | None = None,
) -> None:
    """End a run early, no call left open: what never started is settled as not run, what did is unknown."""
    run = turn.run
    open_states = [ToolCallState.PLANNED, ToolCallState.AWAITING_APPROVAL, ToolCallState.STARTED]
    if not run.tool_calls.filter(state__in=open_states).exists():
        _end(turn, to, payload, fields, step_end=step_end or _failed_step(turn))
        return
    with write():
        leases.check(turn.lease)
        waiting.cancel_open(run, why=why)
        _end(turn, to, payload, fields, step_end=step_end)


def _end(
    turn: Turn,
    to: RunStatus,
    payload: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    before: tuple[Entry, ...] = (),
    step_end: StepEnd | None = None,
) -> None:
    done = run_state.transition(
        turn.run,
        to,
        session_id=turn.session_id,
        lease=turn.lease,
        lease_seconds=turn.lease_seconds,
        payload=payload,
        fields=fields,
        before=before,
        step_end=step_end,
        release="idle",
    )
    turn.released = done.released


def _failed_step(turn: Turn) -> StepEnd | None:
    """Return the end of a step whose model call brought no answer."""
    if turn.phase is not Phase.MODEL:
        return None
    ended = {"status": str(StepStatus.FAILED), "finished_at": clock.now()}
    return StepEnd(run_pk=turn.run.pk, number=turn.run.step, fields=ended)


def _usage(fields: Mapping[str, Any]) -> dict[str, int]:
    return {"input_tokens": fields["input_tokens"], "output_tokens": fields["output_tokens"]}
