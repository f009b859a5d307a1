"""Tool calls in the ledger of external actions: which of them act on the outside, and what is said of them.

Every verb needs the open transaction that commits the call's own change, and the session's row lock in it.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from kheish_site.lib.canonical import sha256_hex
from sessions_app.models import ActionKind, ActionPhase, Run, ToolCall, ToolCallState
from sessions_app.services import external_actions
from sessions_app.services.external_actions import Action, ChainBroken
from sessions_app.services.writes import Advance
from sessions_app.tools import registry

logger = logging.getLogger(__name__)
OUTWARD_EFFECTS: Final = frozenset({"opaque", "probeable"})


def is_outward(call: ToolCall) -> bool:
    """Tell whether the call may change something outside the database, or reach the network."""
    tool = registry.get(call.tool_name)
    return call.effect in OUTWARD_EFFECTS or (tool is not None and tool.spec.sandbox == "network_enabled")


def started(run: Run, advances: Iterable[Advance]) -> None:
    """Record that calls are about to begin.

    One that a dead worker had begun and that may run again first gets the end of that attempt.
    Raises: LedgerUnavailable; then nothing may be run.
    """
    actions = []
    for advance in advances:
        call = advance.call
        if not is_outward(call):
            continue
        if advance.was == ToolCallState.STARTED:
            lost = "not_happened" if call.effect == "probeable" else "unknown"
            actions.append(_finished(call, lost, grant=_grant(run, call)))
        actions.append(
            Action(
                phase=ActionPhase.STARTED, kind=ActionKind.TOOL, target=call.tool_name,
                grant=_grant(run, call), request_digest=call.digest, tool_call_id=call.call_id,
            )
        )  # fmt: skip
    external_actions.record(*actions, run=run)


def finished(run: Run, calls: Iterable[ToolCall]) -> None:
    """Record what came of calls that had begun and are settled or unknown now. Raises: LedgerUnavailable."""
    external_actions.record(
        *(_finished(call, _outcome(call), grant=_grant(run, call)) for call in filter(is_outward, calls)),
        run=run,
    )


def left_open(run: Run, calls: Iterable[ToolCall]) -> None:
    """Record that a run has ended whose calls had begun, if it can be recorded. Raises: KeyMissing."""
    with _if_it_can_be(run):
        finished(run, calls)


def judged(run: Run, call: ToolCall, outcome: str, *, principal: str, decision_id: str) -> None:
    """Record what a person says came of a call nobody else could know, if it can be. Raises: KeyMissing."""
    if is_outward(call):
        action = _finished(call, outcome, grant=f"decision:{decision_id}", principal=principal)
        with _if_it_can_be(run):
            external_actions.record(action, run=run)


@contextmanager
def _if_it_can_be(run: Run) -> Iterator[None]:
    """Go on where the head of the chain was written over: no record can ever follow, the journal has it.

    A key that is missing may come back, and is waited for.
    """
    try:
        yield
    except ChainBroken:
        logger.exception("an end is not recorded", extra={"action": "outward", "run": run.run_id})


def _finished(call: ToolCall, outcome: str, *, grant: str, principal: str = "") -> Action:
    return Action(
        phase=ActionPhase.FINISHED,
        kind=ActionKind.TOOL,
        target=call.tool_name,
        grant=grant,
        principal=principal,
        request_digest=call.digest,
        response_digest=_response_digest(call),
        outcome=outcome,
        tool_call_id=call.call_id,
    )


def _outcome(call: ToolCall) -> str:
    return f"{call.state}:{call.error_code}" if call.error_code else str(call.state)


def _response_digest(call: ToolCall) -> str:
    """Return the SHA-256 of the whole redacted result as the journal has it, "" while there is none."""
    if call.stored is not None:
        return call.stored.sha256
    return sha256_hex(call.content) if call.finished_at is not None and call.content else ""


def _grant(run: Run, call: ToolCall) -> str:
    allowed = call.permission
    if approval_id := allowed.get("approval_id"):
        voters = ",".join(allowed.get("approved_by", ()))
        return f"approval:{approval_id}/{voters}" if voters else f"approval:{approval_id}"
    return f"permission:{allowed.get('effective_mode') or run.permission_mode}"
