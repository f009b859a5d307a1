"""What approvals, questions and operator decisions have in common: a run waits for them together.

Every verb here runs inside the transaction of a caller that holds the session's row lock.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from django.db.models import QuerySet

from kheish_site.lib import clock
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import require_transaction
from sessions_app.models import (
    WAITING,
    Approval,
    ApprovalStatus,
    DecisionStatus,
    OperatorDecision,
    QuestionStatus,
    Run,
    RunStatus,
    ToolCallState,
    UserQuestion,
)
from sessions_app.services import effects, journal, outward, run_state, sessions, shell_tasks
from sessions_app.services.writes import Entry
from sessions_app.tools.base import ToolResult

Item = Approval | UserQuestion | OperatorDecision


def lock(item: Item) -> Run:
    """Lock the session of ``item``, read both again, and return the run. Needs an open transaction.

    The session row is the first lock of every verb, so two deciders queue here and the second one
    reads what the first one wrote.
    """
    require_transaction()
    sessions.lock(item.session_id)
    (fresh,) = _AGAIN[type(item)].all(item.pk)
    vars(item).clear()  # also what was read along with it: its call, its run, its votes
    vars(item).update(vars(fresh))
    item.session = item.run.session
    return item.run


def _open(model: type[Item], pending: str, run_pk: int) -> QuerySet[Any, tuple[int]]:
    return model.objects.filter(run_id=run_pk, status=pending).order_by().values_list("pk")[:1]


def _prepared(model: type[Item]) -> Prepared[Item]:
    rows = model.objects.select_related("tool_call__step", "run__session").order_by()
    return Prepared(lambda pk: rows.filter(pk=pk), int)


_AGAIN: Final[Mapping[type[Item], Prepared[Item]]] = {
    model: _prepared(model) for model in (Approval, UserQuestion, OperatorDecision)
}


class _Kind(NamedTuple):
    """What a run may wait for. ``resumed_as`` is its own kind once it goes on; "" leaves that as it is."""

    waits: RunStatus
    noun: str
    model: type[Item]
    statuses: Any
    closed_at: str
    resumed_as: str
    items: Prepared[tuple[int]]


def _kind(
    waits: RunStatus, noun: str, model: type[Item], statuses: Any, closed_at: str, resumed_as: str = ""
) -> _Kind:
    items = Prepared[tuple[int]](partial(_open, model, statuses.PENDING), int)
    return _Kind(waits, noun, model, statuses, closed_at, resumed_as, items)


_KINDS: Final = (
    _kind(
        RunStatus.WAITING_FOR_APPROVAL, "approval", Approval, ApprovalStatus, "decided_at", "approval_resume"
    ),
    _kind(
        RunStatus.WAITING_FOR_USER_QUESTION, "question", UserQuestion, QuestionStatus, "resolved_at",
        "user_question_resume",
    ),
    _kind(RunStatus.WAITING_FOR_OPERATOR, "decision", OperatorDecision, DecisionStatus, "resolved_at"),
)  # fmt: skip


def status_for(run: Run) -> RunStatus | None:
    """Return the status the open items of ``run`` call for, or None when nothing is open."""
    return next((kind.waits for kind in _KINDS if kind.items.all(run.pk)), None)


def commit_settled(run: Run, *entries: Entry) -> None:
    """Journal ``entries`` and let the run go on: queued when nothing is open any more, else still waiting."""
    to = status_for(run) or RunStatus.QUEUED
    if run.status not in WAITING or run.status == to:
        journal.append(run.session_id, *entries)
        return
    (waited_for,) = (kind for kind in _KINDS if kind.waits == run.status)
    goes_on = to == RunStatus.QUEUED and waited_for.resumed_as
    run_state.transition(
        run,
        to,
        session_id=run.session.session_id,
        before=entries,
        payload={"step": run.step},
        fields={"kind": waited_for.resumed_as} if goes_on else None,
    )


def cancel_open(run: Run, *, why: str) -> None:
    """Close everything ``run`` waits for and all it has begun, because the run itself ends."""
    shell_tasks.settle_lost(run)
    session_id = run.session.session_id
    entries: list[Entry] = []
    now = clock.now()
    for kind in _KINDS:
        for item in kind.model.objects.filter(run=run, status=kind.statuses.PENDING):
            closed = {"status": kind.statuses.CANCELLED, kind.closed_at: now}
            kind.model.objects.filter(pk=item.pk).update(**closed)
            payload: dict[str, Any] = {f"{kind.noun}_id": getattr(item, f"{kind.noun}_id"), "reason": why}
            entries.append(journal.entry(session_id, f"{kind.noun}.cancelled", payload, run=run))
    for call in run.tool_calls.filter(state__in=[ToolCallState.PLANNED, ToolCallState.AWAITING_APPROVAL]):
        effects.settle(
            call,
            ToolCallState.DENIED,
            ToolResult(content=f"not run: {why}", is_error=True, error_code="run_ended"),
        )
        entries.append(effects.settled_entry(session_id, run, call))
    # Whoever started these is gone: its worker died, or handed the run on.
    lost = list(run.tool_calls.filter(state=ToolCallState.STARTED))
    for call in lost:
        effects.advance(call, ToolCallState.UNKNOWN, finished_at=now)
        entries.append(effects.unknown_entry(session_id, run, call, reason=why))
    outward.left_open(run, lost)
    if entries:
        journal.append(run.session_id, *entries)
