"""After a crash between ``started`` and a result: what each effect class allows.

``read`` and ``idempotent`` run again (the latter under the same key); a ``probeable`` effect asks its
target; an ``opaque`` one is never run again: its outcome is unknown and somebody must judge it.
Source: ARCHITECTURE, "States of an effect".
"""

import logging

from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.transactions import write
from sessions_app.engine.execute import NOT_THE_TOOLS, Kept, context_for
from sessions_app.engine.turn import Turn
from sessions_app.models import ToolCall, ToolCallState
from sessions_app.services import effects, leases, outward, shell_tasks
from sessions_app.tools import registry
from sessions_app.tools.base import Probeable, ProbeInconclusive, ToolFailure, ToolResult

logger = logging.getLogger(__name__)


class Unknown(Exception):
    """Only a person can find out whether the effect happened."""


def after_crash(turn: Turn, calls: list[ToolCall]) -> None:
    """Judge every call a dead worker left ``started``; those that may run again stay so.

    Raises: LeaseLost.
    """
    with write():
        leases.check(turn.lease)  # frozen since: the calls may be of whoever took the run over, and live
        shell_tasks.settle_lost(turn.run)
    for call in calls:
        if call.state != ToolCallState.STARTED or call.effect in ("read", "idempotent"):
            continue
        try:
            result = _probe(turn, call)
        except Unknown:
            _mark_unknown(turn, call)
            crashpoint("effect.judged")
            continue
        if result is not None:
            _record(turn, call, result)


def _probe(turn: Turn, call: ToolCall) -> ToolResult | None:
    """Return what came of the call, or None when it certainly did not happen. Raises: Unknown."""
    tool = registry.get(call.tool_name)
    if call.effect != "probeable" or not isinstance(tool, Probeable):
        raise Unknown
    try:
        return tool.probe(call.arguments, call.prepared, context_for(turn, call, Kept(turn.session_id)))
    except (ProbeInconclusive, ToolFailure) as reason:
        logger.info("probe inconclusive", extra={"action": "recover", "call": call.call_id})
        raise Unknown from reason
    except NOT_THE_TOOLS:
        raise
    except Exception as error:  # the edge: a tool's own code, whatever it raises
        logger.exception("a probe broke", extra={"action": "recover", "call": call.call_id})
        raise Unknown from error


def _mark_unknown(turn: Turn, call: ToolCall) -> None:
    with write():
        leases.check(turn.lease)
        effects.advance(call, ToolCallState.UNKNOWN)
        outward.finished(turn.run, [call])
        turn.append(effects.unknown_entry(turn.session_id, turn.run, call))


def _record(turn: Turn, call: ToolCall, result: ToolResult) -> None:
    with write():
        leases.check(turn.lease)
        effects.settle(call, ToolCallState.FAILED if result.is_error else ToolCallState.SUCCEEDED, result)
        outward.finished(turn.run, [call])
        turn.append(effects.settled_entry(turn.session_id, turn.run, call))
