"""What approvals, questions and operator decisions have in common: a run waits for them together.

Every verb here runs inside the transaction of a caller that holds the session's row lock.
"""

from collections.abc import Mapping
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import require_transaction
from sessions_app.models import WAITING, Run, RunStatus, ToolCallState
from sessions_app.services import effects, journal, outward, run_state, sessions, shell_tasks
from sessions_app.services.waiting_kinds import KINDS, Item, Kind
from sessions_app.services.writes import Entry
from sessions_app.tools.base import ToolResult


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


def _prepared(model: type[Item]) -> Prepared[Item]:
    rows = model.objects.select_related("tool_call__step", "run__session").order_by()
    return Prepared(lambda pk: rows.filter(pk=pk), int)


_AGAIN: Final[Mapping[type[Item], Prepared[Item]]] = {kind.model: _prepared(kind.model) for kind in KINDS}


def _one_open(kind: Kind) -> Prepared[tuple[int]]:
    return Prepared(lambda run_pk: kind.pending().filter(run_id=run_pk).values_list("pk")[:1], int)


_OPEN: Final = tuple((kind.waits, _one_open(kind)) for kind in KINDS)


def status_for(run: Run) -> RunStatus | None:
    """Return the status the open items of ``run`` call for, or None when nothing is open."""
    return next((waits for waits, items in _OPEN if items.all(run.pk)), None)


def commit_settled(run: Run, *entries: Entry) -> None:
    """Journal ``entries`` and let the run go on: queued when nothing is open any more, else still waiting."""
    to = status_for(run) or RunStatus.QUEUED
    if run.status not in WAITING or run.status == to:
        journal.append(run.session_id, *entries)
        return
    (waited_for,) = (kind for kind in KINDS if kind.waits == run.status)
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
    for kind in KINDS:
        for item in kind.pending().filter(run=run).order_by("-pk"):
            closed = {"status": kind.statuses.CANCELLED, kind.closed_at: now}
            kind.model.objects.filter(pk=item.pk).update(**closed)
            payload: dict[str, Any] = {f"{kind.noun}_id": kind.id_of(item), "reason": why}
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
