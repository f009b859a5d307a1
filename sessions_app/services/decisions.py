"""Operator decisions: a person says what came of an effect that nobody else can know.

Outcomes: it happened; it did not, run it; tell the agent; give up (ARCHITECTURE, "States of an effect").
"""

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import QuerySet

from kheish_site.lib import clock
from kheish_site.lib.errors import BadRequest, Conflict, NotFound
from kheish_site.lib.ids import new_id
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write
from sessions_app.models import (
    DecisionOutcome,
    DecisionStatus,
    OperatorDecision,
    Run,
    RunStatus,
    ToolCall,
    ToolCallState,
)
from sessions_app.services import effects, journal, outward, run_state, waiting
from sessions_app.services.principal import Principal
from sessions_app.services.writes import Entry
from sessions_app.tools.base import ToolResult

UNKNOWN_NOTE: Final = (
    "the outcome of this call is unknown: the worker died while it ran. Check before you repeat it."
)

_KNOWN: Final[dict[str, str]] = {
    DecisionOutcome.HAPPENED: "happened",
    DecisionOutcome.NOT_HAPPENED: "not_happened",
}


class DecisionMissing(NotFound):
    """No such decision."""

    code, domain = "decision_not_found", "decisions"


class DecisionConflict(Conflict):
    """It was decided in another way; the problem says how and by whom."""

    code, domain = "decision_state_conflict", "decisions"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the operator says; ``result`` is what the agent reads when the effect did happen."""

    outcome: str
    note: str = ""
    result: str = ""


def get(decision_id: str) -> OperatorDecision:
    """Return the decision with its call, run and session. Raises: DecisionMissing."""
    found = _BY_ID.first(decision_id)
    if found is None:
        raise DecisionMissing(f"there is no decision {decision_id}")
    return found


def _by_id(decision_id: str) -> QuerySet[OperatorDecision]:
    rows = OperatorDecision.objects.select_related("tool_call", "run", "session")
    return rows.filter(decision_id=decision_id).order_by()


_BY_ID: Final = Prepared[OperatorDecision](_by_id, str)


def request(run: Run, call: ToolCall, *, partial_output: str = "") -> tuple[OperatorDecision, Entry]:
    """Ask an operator about ``call``, whose outcome is unknown. Needs the suspending transaction."""
    decision = OperatorDecision.objects.create(
        decision_id=new_id("dec"),
        session_id=run.session_id,
        run=run,
        tool_call=call,
        partial_output=redact(partial_output),
        created_at=clock.now(),
    )
    payload = {
        "decision_id": decision.decision_id,
        "call_id": call.call_id,
        "tool_name": call.tool_name,
        "input": call.arguments,
        "partial_output": decision.partial_output,
    }
    return decision, journal.entry(run.session.session_id, "decision.requested", payload, run=run)


def resolve(decision_id: str, judgement: Judgement, *, principal: Principal) -> OperatorDecision:
    """Settle the decision and let the run go on, or end it. The same outcome again changes nothing.

    Raises: DecisionMissing, DecisionConflict, BadRequest (unknown outcome).
    """
    if judgement.outcome not in DecisionOutcome.values:
        raise BadRequest(
            f"outcome is one of {', '.join(DecisionOutcome.values)}", code="decision_outcome_unknown"
        )
    decision = get(decision_id)
    with write():
        run = waiting.lock(decision)
        if decision.status != DecisionStatus.PENDING:
            _same_or_conflict(decision, judgement)
            return get(decision_id)
        _settle(decision, judgement, principal)
        entries = [_made(decision, run), *_apply(decision, run)]
        outward.judged(
            run,
            decision.tool_call,
            _KNOWN.get(decision.outcome, "unknown"),
            principal=principal.name,
            decision_id=decision.decision_id,
        )
        if decision.outcome == DecisionOutcome.GIVE_UP:
            _give_up(run, entries)
        else:
            waiting.commit_settled(run, *entries)
    return get(decision_id)


def tell_agent(run: Run, call: ToolCall, *, partial_output: str = "", note: str = "") -> Entry:
    """Reconcile an unknown call as an error result that says so, with what it had written."""
    content = note or UNKNOWN_NOTE
    if partial_output:
        content = f"{content}\nOutput until then:\n{partial_output}"
    result = ToolResult(content=content, is_error=True, error_code="outcome_unknown")
    effects.settle(call, ToolCallState.RECONCILED, result)
    return effects.settled_entry(run.session.session_id, run, call)


def _same_or_conflict(decision: OperatorDecision, judgement: Judgement) -> None:
    if decision.outcome != judgement.outcome:
        who = decision.resolved_by or "the daemon"
        raise DecisionConflict(
            f"already decided: {decision.outcome or decision.status}, by {who}",
            decision_id=decision.decision_id,
            outcome=decision.outcome,
            resolved_by=decision.resolved_by,
        )


def _settle(decision: OperatorDecision, judgement: Judgement, principal: Principal) -> None:
    decision.status, decision.outcome = DecisionStatus.RESOLVED, judgement.outcome
    decision.note, decision.result = redact(judgement.note), redact(judgement.result)
    decision.resolved_by, decision.resolved_at = principal.name, clock.now()
    decision.save(update_fields=["status", "outcome", "note", "result", "resolved_by", "resolved_at"])


def _made(decision: OperatorDecision, run: Run) -> Entry:
    payload: dict[str, Any] = {
        "decision_id": decision.decision_id,
        "call_id": decision.tool_call.call_id,
        "outcome": decision.outcome,
        "note": decision.note,
        "principal": decision.resolved_by,
    }
    return journal.entry(run.session.session_id, "decision.made", payload, run=run)


def _apply(decision: OperatorDecision, run: Run) -> list[Entry]:
    call = decision.tool_call
    if decision.outcome == DecisionOutcome.NOT_HAPPENED:
        effects.advance(call, ToolCallState.PLANNED)
        return []
    if decision.outcome == DecisionOutcome.HAPPENED:
        content = decision.result or decision.partial_output or "an operator confirmed that this happened"
        effects.settle(
            call, ToolCallState.RECONCILED, ToolResult(content=content, data={"note": decision.note})
        )
        return [effects.settled_entry(run.session.session_id, run, call)]
    note = f"{UNKNOWN_NOTE} Operator: {decision.note}" if decision.note else ""
    return [tell_agent(run, call, partial_output=decision.partial_output, note=note)]


def _give_up(run: Run, entries: list[Entry]) -> None:
    journal.append(run.session_id, *entries)
    waiting.cancel_open(run, why="an operator gave the run up")
    error = {"code": "operator_gave_up", "message": "an operator gave up on an effect of unknown outcome"}
    run_state.transition(
        run,
        RunStatus.FAILED,
        session_id=run.session.session_id,
        payload={"error": error},
        fields={"error": error},
    )
