"""From the model's answer to planned calls: parsed, checked and judged before anything runs.

A call that cannot run (unknown tool, arguments that are not JSON or break the schema, denied, repeated
without end) is settled at once with a result that tells the model why; its siblings are not affected.
"""

import json
import math
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from kheish_site.lib.redaction import redact
from sessions_app.engine.turn import Turn
from sessions_app.models import Run, Step, ToolCall, ToolCallState
from sessions_app.providers.base import Completion, ToolCallPart
from sessions_app.services import effects, permissions
from sessions_app.tools import registry
from sessions_app.tools.base import Tool

MAX_CALLS: Final = 64
"""Calls of one answer that are planned; the rest come back as errors."""
MAX_REPEATS: Final = 8
"""How often one run may make the identical call before it is refused: small models loop."""
DEEPEST: Final = 64
"""Levels of nesting in the arguments of a call."""
CUT_OFF: Final = (
    "the answer was cut off at its limit of tokens, before this call was complete; "
    "make a shorter one, a long text in several calls"
)
_LONGEST_ID: Final = 200


def calls(turn: Turn, step: Step, completion: Completion) -> list[ToolCall]:
    """Return unsaved ledger rows for the calls of one answer, in its order.

    ``step`` brings its run and session as they are now: a rule set during a long run counts at once.
    """
    judge, taken = permissions.judge_for(step.run), set[str]()
    parts = completion.tool_calls
    cut = len(parts) - 1 if completion.finish_reason == "length" else None
    return [
        _call(turn.run, step, index, part, judge, taken, cut=index == cut) for index, part in enumerate(parts)
    ]


def _call(
    run: Run,
    step: Step,
    index: int,
    part: ToolCallPart,
    judge: permissions.Judge,
    taken: set[str],
    *,
    cut: bool,
) -> ToolCall:
    arguments, problem = _arguments(part.arguments)
    if cut and (problem or not part.arguments.strip()):
        problem = "arguments_invalid", CUT_OFF
    name = redact(part.name)[:200]
    tool = registry.get(name)
    call_id = new_id("call")
    call = ToolCall(
        call_id=call_id,
        run=run,
        step=step,
        index=index,
        provider_call_id=_provider_id(part.id, taken) or call_id,
        tool_name=name,
        effect=tool.spec.effect if tool else "read",
        arguments=arguments,
        digest=effects.call_digest(name, arguments),
        idempotency_key=effects.idempotency_key(run.run_id, step.number, call_id, arguments),
        created_at=clock.now(),
    )
    problem = problem or _unusable(run, index, tool, call)
    if problem:
        return _refused(call, ToolCallState.FAILED, *problem)
    decision = judge(call.tool_name)
    call.permission = decision.as_dict()
    if decision.decision == "deny":
        why = decision.reason or decision.mode_effect or "a rule denies this tool"
        return _refused(call, ToolCallState.DENIED, "permission_denied", f"denied: {why}")
    return call


def _provider_id(given: str, taken: set[str]) -> str:
    """Return the provider's id for a call, or "" when it cannot be stored as it is or was given twice."""
    if given in taken or len(given) > _LONGEST_ID or redact(given) != given:
        return ""
    taken.add(given)
    return given


def _arguments(text: str) -> tuple[dict[str, Any], tuple[str, str] | None]:
    try:
        value = _storable(json.loads(text or "{}", parse_constant=_not_finite, parse_float=_finite))
    except (ValueError, RecursionError):
        return {}, ("arguments_invalid", "the arguments are not valid JSON; send one JSON object")
    if not isinstance(value, dict):
        return {}, ("arguments_invalid", "the arguments must be one JSON object")
    return value, None


def _not_finite(name: str) -> None:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


def _storable(value: Any, depth: int = 0) -> Any:
    """Replace what no database text can hold: NUL and lone surrogates. Raises: ValueError (too deep)."""
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(key, depth): _storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, depth + 1) for item in value]
    return value


def _unusable(run: Run, index: int, tool: Tool | None, call: ToolCall) -> tuple[str, str] | None:
    if index >= MAX_CALLS:
        return "too_many_calls", f"only {MAX_CALLS} calls of one answer are run"
    if tool is None:
        known = ", ".join(registry.all_tools())
        return "tool_unknown", f"there is no tool {call.tool_name!r}; there are: {known}"
    found = registry.validate(tool, call.arguments)
    if found:
        return "arguments_invalid", "the arguments do not fit the tool: " + "; ".join(found[:5])
    if run.step > MAX_REPEATS and run.tool_calls.filter(digest=call.digest).count() >= MAX_REPEATS:
        return "call_repeated", f"this exact call was already made {MAX_REPEATS} times in this run"
    return None


def _refused(call: ToolCall, state: ToolCallState, code: str, message: str) -> ToolCall:
    call.state, call.content, call.is_error = state, redact(message), True
    call.error_code, call.finished_at = code, clock.now()
    return call
