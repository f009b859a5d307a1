"""One model call of a run: fold, ask outside any transaction, commit the answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.crypto import Unreadable
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import redact
from sessions_app.engine import compaction, context, execute, model_call, plan, settle, tools_phase
from sessions_app.engine.context import Context
from sessions_app.engine.model_call import Answer
from sessions_app.engine.turn import Outcome, Phase, Turn
from sessions_app.models import Route, Run, Step, StepStatus, ToolCall, ToolCallState
from sessions_app.providers.base import Cancelled, ProviderError
from sessions_app.services import effects, run_state, writes
from sessions_app.services.secrets import SecretMissing
from sessions_app.services.writes import Advance, Change, Entry, StepEnd

_STEP: Final = Prepared[Step](
    lambda run_pk, number: (
        Step.objects.select_related("run__session").filter(run_id=run_pk, number=number).order_by()
    ),
    int,
    int,
)
_COMPACTIONS: Final = 3
"""How often a conversation is compacted for one call that the model finds too long."""
_FAILURE_CODES = {"overflow": "context_window_exceeded", "invalid": "invalid_request"}


def newest(run: Run) -> Step | None:
    """Return the step that ``run`` has come to, with its run and session, or None before it is opened."""
    return _STEP.first(run.pk, run.step)


def advance(turn: Turn) -> Outcome:
    """Make the open model call of the run and commit what came of it.

    The answer either ends the run or plans tool calls; some start with the same commit.
    Raises: LeaseLost, StaleRun.
    """
    crashpoint("model.before")
    try:
        answer = _ask(turn)
    except Cancelled:
        return Outcome.CONTINUE  # the loop honours the request, or finds the lease lost
    except model_call.RouteGone as gone:
        return _failed(turn, "route_not_found", f"the run's route {gone} exists no more")
    except (SecretMissing, Unreadable) as error:
        message = f"route {turn.run.route_id} has no key to call its model: {error.detail}"
        return _failed(turn, error.error_code, message)
    except ProviderError as error:
        return _failed(turn, _FAILURE_CODES.get(error.kind, error.kind), error.message)
    crashpoint("model.after")
    if answer.completion.tool_calls:
        return _act(turn, answer)
    _commit_answer(turn, answer)
    return Outcome.LEFT


def _ask(turn: Turn) -> Answer:
    """Call the model; a window that is too small, before or by its own word, is compacted and asked again."""
    route = model_call.pinned_route(turn)
    folded = compaction.fitted(turn, route)
    for _ in range(_COMPACTIONS):
        try:
            return _call(turn, folded, route)
        except ProviderError as error:
            if error.kind != "overflow":
                raise
            too_long = error
        smaller = compaction.compact(turn, folded, route, trigger="overflow")
        if smaller is folded:
            raise too_long
        folded = smaller
    return _call(turn, folded, route)


def _call(turn: Turn, folded: Context, route: Route) -> Answer:
    return model_call.call(turn, context.build_request(turn.run, folded, attempt=turn.attempt), route)


def _failed(turn: Turn, code: str, message: str) -> Outcome:
    settle.fail(
        turn, code, message, step_end=_step_end(turn, StepStatus.FAILED, {"code": code, "message": message})
    )
    return Outcome.LEFT


def _commit_answer(turn: Turn, answer: Answer) -> None:
    run, completion = turn.run, answer.completion
    output = {"source_kind": "assistant_text", "content": redact(completion.text), "parts": []}
    fields = {
        "outputs": [*run.outputs, output] if completion.text else run.outputs,
        "input_tokens": run.input_tokens + completion.usage.input_tokens,
        "output_tokens": run.output_tokens + completion.usage.output_tokens,
    }
    said = output if completion.text else None
    settle.complete(
        turn, entries=(_spoken(turn, answer, []),), step_end=_answered(turn, answer), fields=fields, said=said
    )


def _act(turn: Turn, answer: Answer) -> Outcome:
    """Plan the calls of the answer; the first ones begin with the same commit if they may."""
    step = newest(turn.run)
    assert step is not None  # the lease holder opened it
    calls = plan.calls(turn, step, answer.completion)
    planned = _planning(turn, answer, calls)
    ready = [call for call in calls if call.state == ToolCallState.PLANNED]

    def begin(advances: Sequence[Advance]) -> None:
        started = [execute.started_entry(turn, advance.call) for advance in advances]
        writes.commit(replace(planned, entries=(*planned.entries, *started)))
        turn.phase = Phase.TOOLS

    if tools_phase.may_begin(turn, ready):
        return tools_phase.carry_out(turn, ready, begin=begin)
    begin(())
    crashpoint("planned")
    return Outcome.CONTINUE


def _planning(turn: Turn, answer: Answer, calls: list[ToolCall]) -> Change:
    """Return the assistant's message, its planned calls and what was refused at once, as one change."""
    run, usage, session_id = turn.run, answer.completion.usage, turn.session_id
    entries = [_spoken(turn, answer, calls), *(_planned(turn, call) for call in calls)]
    entries += [
        effects.settled_entry(session_id, run, call) for call in calls if call.state != ToolCallState.PLANNED
    ]
    run.input_tokens += usage.input_tokens
    run.output_tokens += usage.output_tokens
    counted = {"input_tokens": run.input_tokens, "output_tokens": run.output_tokens}
    return Change(
        session_pk=run.session_id,
        entries=tuple(entries),
        lease=turn.lease,
        lease_seconds=turn.lease_seconds,
        move=run_state.staying(run, counted),
        step_end=_answered(turn, answer),
        calls=tuple(calls),
    )


def _spoken(turn: Turn, answer: Answer, calls: list[ToolCall]) -> Entry:
    return turn.entry("message.created", _message(turn, answer, calls))


def _message(turn: Turn, answer: Answer, calls: list[ToolCall]) -> dict[str, Any]:
    completion = answer.completion
    message: dict[str, Any] = {
        "role": "assistant",
        "content": completion.text,
        "step": turn.run.step,
        "route_id": answer.route_id,
        "model": answer.model,
        "finish_reason": completion.finish_reason,
        "usage": {
            "input_tokens": completion.usage.input_tokens,
            "output_tokens": completion.usage.output_tokens,
            "estimated": completion.usage.estimated,
        },
    }
    if calls:
        message["tool_calls"] = [
            {
                "call_id": call.call_id,
                "provider_call_id": call.provider_call_id,
                "tool_name": call.tool_name,
                "arguments": part.arguments,
                **({"extra": dict(part.extra)} if part.extra else {}),
            }
            for call, part in zip(calls, completion.tool_calls, strict=True)
        ]
    if completion.extra:
        message["extra"] = dict(completion.extra)
    return message


def _planned(turn: Turn, call: ToolCall) -> Entry:
    payload = {
        "call_id": call.call_id,
        "tool_name": call.tool_name,
        "input": call.arguments,
        "digest": call.digest,
        "effect": call.effect,
        "permission": call.permission,
        "step": turn.run.step,
    }
    return turn.entry("tool.planned", payload)


def _answered(turn: Turn, answer: Answer) -> StepEnd:
    completion = answer.completion
    return _step_end(
        turn,
        StepStatus.ANSWERED,
        {},
        route_id=answer.route_id,
        model=answer.model,
        input_tokens=completion.usage.input_tokens,
        output_tokens=completion.usage.output_tokens,
        usage_estimated=completion.usage.estimated,
        latency_ms=answer.latency_ms,
        provider_request_id=completion.request_id[:200],
        finish_reason=completion.finish_reason,
    )


def _step_end(turn: Turn, status: StepStatus, error: dict[str, Any], **fields: Any) -> StepEnd:
    ended = {"status": str(status), "error": redact(error), "finished_at": clock.now(), **fields}
    return StepEnd(run_pk=turn.run.pk, number=turn.run.step, fields=ended)
