"""Suspending: everything a batch needs people for is asked in one commit, and the run leaves its worker."""

from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.transactions import write
from sessions_app.engine import settle
from sessions_app.engine.turn import Outcome, Turn
from sessions_app.models import RunStatus, Session, ToolCall, ToolCallState, UnknownEffects
from sessions_app.services import (
    approvals,
    decisions,
    leases,
    ports,
    questions,
    run_state,
    shell_tasks,
    waiting,
)
from sessions_app.services.writes import Entry
from sessions_app.tools import registry


def if_needed(turn: Turn, calls: list[ToolCall]) -> Outcome | None:
    """Ask for every approval, answer and judgement the batch lacks, and let the run wait.

    Nothing of the batch runs before all of it is decided; what was decided already is not asked again.
    An unknown effect asks an operator or tells the agent, as the session is set. Returns LEFT when the run
    waits, None when nothing is open, and CONTINUE when somebody asked the run to stop: a request that found
    it running is honoured now, because a waiting run has nobody who would.
    """
    undecided = _needing_people(calls)
    unknown = [call for call in calls if call.state == ToolCallState.UNKNOWN]
    if not undecided and not unknown:
        return None
    with write():
        leases.check(turn.lease)
        if settle.stop_requested(turn.run):
            return Outcome.CONTINUE
        asked, entries = _ask_all(turn, undecided)
        telling = bool(unknown) and _tells_the_agent(turn)
        for call in unknown:
            partial = shell_tasks.partial_output(call)
            if telling:
                entries.append(decisions.tell_agent(turn.run, call, partial_output=partial))
            else:
                decision, entry = decisions.request(turn.run, call, partial_output=partial)
                asked.append(decision)
                entries.append(entry)
        waits = _leave(turn, asked, entries)
    if waits:
        crashpoint("suspended")
    return Outcome.LEFT if waits else None


def is_needed(calls: list[ToolCall]) -> bool:
    """Tell whether somebody must be asked before any of these calls, just planned, may run."""
    return bool(_needing_people(calls))


def _needing_people(calls: list[ToolCall]) -> list[ToolCall]:
    return [call for call in calls if call.state == ToolCallState.PLANNED and _needs_person(call)]


def _tells_the_agent(turn: Turn) -> bool:
    """Read what the session says now of unknown effects, not what it said when the run was taken."""
    chosen = Session.objects.values_list("unknown_effects", flat=True).get(pk=turn.run.session_id)
    return chosen == UnknownEffects.TELL


def _leave(turn: Turn, asked: list[ports.Asked], entries: list[Entry]) -> bool:
    to = waiting.status_for(turn.run)
    if to is None:
        turn.append(*entries)
        return False
    done = run_state.transition(
        turn.run,
        RunStatus(to),
        session_id=turn.session_id,
        lease=turn.lease,
        lease_seconds=turn.lease_seconds,
        before=tuple(entries),
        payload={"step": turn.run.step},
        release="idle",
    )
    turn.released = done.released
    if asked and turn.run.reply_targets:
        ports.asked(turn.run, asked)
    crashpoint("suspending")
    return True


def _needs_person(call: ToolCall) -> bool:
    if call.permission.get("decision") == "ask" and call.permission.get("approved_digest") != call.digest:
        return True
    return _is_question(call)


def _is_question(call: ToolCall) -> bool:
    tool = registry.get(call.tool_name)
    return tool is not None and tool.spec.suspends == "question"


def _ask_all(turn: Turn, calls: list[ToolCall]) -> tuple[list[ports.Asked], list[Entry]]:
    pairs = [_ask(turn, call) for call in calls]
    return [item for item, _ in pairs], [entry for _, entry in pairs]


def _ask(turn: Turn, call: ToolCall) -> tuple[ports.Asked, Entry]:
    undecided = call.permission.get("decision") == "ask" and "approved_digest" not in call.permission
    if _is_question(call) and not undecided:
        return questions.ask(turn.run, call)
    return approvals.request(turn.run, call)
