"""The calls of one answer, as a batch: suspend together, then run what may run, then open the next step.

Calls that stay inside and that nobody has to be asked about begin with the commit that plans them
(``carry_out``, from ``step``); all others are read back from their rows (``advance``).
"""

from functools import partial
from typing import Final

from django.db.models import QuerySet

from kheish_site.lib.prepared import Prepared
from sessions_app.engine import execute, recover, settle, suspend
from sessions_app.engine.turn import Outcome, Phase, Turn
from sessions_app.models import ToolCall, ToolCallState
from sessions_app.services import outward
from sessions_app.tools import registry


def advance(turn: Turn) -> Outcome:
    """Bring the current step's calls as far as they can go. Raises: LeaseLost, StaleRun."""
    calls = _calls(turn)
    if any(call.state == ToolCallState.STARTED for call in calls):
        recover.after_crash(turn, calls)  # this worker has started nothing yet: a dead one did
        calls = _calls(turn)
    if not _may_go_on(turn):
        return _too_many_turns(turn)
    if (outcome := suspend.if_needed(turn, calls)) is not None:
        return outcome
    ready = [call for call in calls if call.state in (ToolCallState.PLANNED, ToolCallState.STARTED)]
    if not ready:
        execute.open_step(turn)
        return _opened(turn)
    if _should_stop(turn):
        return Outcome.CONTINUE
    return carry_out(turn, ready)


def may_begin(turn: Turn, calls: list[ToolCall]) -> bool:
    """Tell whether the first of ``calls``, about to be planned, may start with the same commit.

    Not calls that act on the outside: the answer and its plan must be kept even if the record that comes
    before such a call, or a look at its target, fails. Nor when something has to happen between plan and
    start: people must be asked or want the run to stop, the worker drains, or no model call is left.
    """
    return (
        bool(calls)
        and not any(map(outward.is_outward, _groups(calls)[0]))
        and not suspend.is_needed(calls)
        and _may_go_on(turn)
        and not _should_stop(turn)
        and not settle.stop_requested(turn.run)
    )


def carry_out(turn: Turn, calls: list[ToolCall], *, begin: execute.Begin | None = None) -> Outcome:
    """Run calls and open the next step.

    ``begin``, which is always called, commits the start of the first that go at once with the plan of all;
    without it the plan is committed already. Raises: LeaseLost, StaleRun.
    """
    later = partial(execute.commit_started, turn)
    *before, last = _groups(calls)
    for group in before:
        execute.group(turn, group, begin=begin or later)
        begin = None
        if _should_stop(turn):
            return Outcome.CONTINUE  # between two effects: the loop sees to what was not started
    execute.group(turn, last, begin=begin or later, opens_next=True)
    return _opened(turn)


def _should_stop(turn: Turn) -> bool:
    """Tell whether no more calls should begin here; whoever lost the run is told so by the next commit."""
    hold = turn.hold
    return (hold.stop.is_set() or hold.draining.is_set()) and not hold.lost


def _of_step(run_pk: int, number: int) -> QuerySet[ToolCall]:
    rows = ToolCall.objects.filter(run_id=run_pk, step__number=number).select_related("stored", "step")
    return rows.order_by("index")


_OF_STEP: Final = Prepared[ToolCall](_of_step, int, int)


def _calls(turn: Turn) -> list[ToolCall]:
    calls = _OF_STEP.all(turn.run.pk, turn.run.step)
    for call in calls:
        call.run = turn.run
    return calls


def _groups(calls: list[ToolCall]) -> list[list[ToolCall]]:
    """Cut the batch into runs of neighbours that may go at once; order is kept between groups."""
    groups: list[list[ToolCall]] = []
    for call in calls:
        together = _parallel(call) and groups and _parallel(groups[-1][-1])
        if together and len(groups[-1]) < execute.MAX_PARALLEL:
            groups[-1].append(call)
        else:
            groups.append([call])
    return groups


def _parallel(call: ToolCall) -> bool:
    tool = registry.get(call.tool_name)
    return tool is not None and tool.spec.allows_parallel


def _may_go_on(turn: Turn) -> bool:
    return not turn.run.max_steps or turn.run.step < turn.run.max_steps


def _too_many_turns(turn: Turn) -> Outcome:
    settle.fail(
        turn, "turn_limit", f"the run made {turn.run.max_steps} model calls, its limit, without an answer"
    )
    return Outcome.LEFT


def _opened(turn: Turn) -> Outcome:
    turn.run.step, turn.attempt, turn.phase = turn.run.step + 1, 1, Phase.MODEL
    return Outcome.CONTINUE
