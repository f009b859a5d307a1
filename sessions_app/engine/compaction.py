"""Keeping a conversation inside the model's window: a checkpoint stands for what is no longer sent.

The journal is never rewritten. The newest messages stay as they are; everything before them becomes a
summary that the model itself writes, or, where that fails, an extract.
"""

import logging
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.transactions import release_connection, write
from sessions_app.engine import context, images, model_call
from sessions_app.engine.context import Context, Placed
from sessions_app.engine.turn import Turn
from sessions_app.models import Checkpoint, Route
from sessions_app.providers import registry
from sessions_app.providers.base import Message, ProviderError, Request, collect
from sessions_app.providers.tokens import context_window, estimate_message, estimate_request
from sessions_app.services import routes

logger = logging.getLogger(__name__)

FULL: Final = 0.8
"""Share of the window at which a conversation is compacted before the call."""
KEPT: Final = 0.3
"""Share of the window that the newest messages keep."""
SUMMARY_TOKENS: Final = 2_000
EXTRACT_CHARACTERS: Final = 400
_ASK: Final = (
    "Write a summary of the conversation above for your own later use: goals, decisions, facts and exact "
    "names, files and commands, errors, open work and the next step. Answer with the summary alone."
)


def fitted(turn: Turn, route: Route) -> Context:
    """Return the folded conversation, compacted first if the next call would fill the window."""
    folded = context.fold(turn.run.session_id)
    window = context_window(turn.run.model, route.options)
    size = _size(turn, folded, route)
    return compact(turn, folded, route, trigger="auto") if size > FULL * window else folded


def compact(turn: Turn, folded: Context, route: Route, *, trigger: str) -> Context:
    """Write a checkpoint that swallows the older messages, and fold again.

    Returns ``folded`` unchanged when nothing can be left out. Raises: LeaseLost, Cancelled.
    """
    window = context_window(turn.run.model, route.options)
    if trigger == "overflow":  # whatever is known of the window, it is smaller than what overflowed
        window = min(window, _size(turn, folded, route))
    cut = _cut(folded.placed, int(window * KEPT))
    if cut == 0:
        return folded
    old, kept = folded.placed[:cut], folded.placed[cut:]
    summary = _summarise(turn, folded, old, route)
    checkpoint = Checkpoint(
        session_id=turn.run.session_id,
        through_seq=kept[0].seq - 1,
        summary=summary,
        restoration=_swallowed(folded, old),
        tokens_before=sum(estimate_message(item.message) for item in folded.placed),
        tokens_after=sum(estimate_message(item.message) for item in kept) + SUMMARY_TOKENS,
        trigger=trigger,
        created_at=clock.now(),
    )
    _commit(turn, checkpoint)
    return context.fold(turn.run.session_id)


def _size(turn: Turn, folded: Context, route: Route) -> int:
    request = context.build_request(turn.run, folded, attempt=turn.attempt)
    return estimate_request(request if route.options.get("images") else images.without(request))


def _commit(turn: Turn, checkpoint: Checkpoint) -> None:
    payload = {
        "through_seq": checkpoint.through_seq,
        "summary": checkpoint.summary,
        "tokens_before": checkpoint.tokens_before,
        "tokens_after": checkpoint.tokens_after,
        "trigger": checkpoint.trigger,
        "compacted": checkpoint.restoration,
    }
    entry = turn.entry("checkpoint.created", payload)
    with write():
        turn.append(entry)
        checkpoint.summary = entry.decoded()["summary"]
        checkpoint.save(force_insert=True)


def _cut(placed: tuple[Placed, ...], budget_tokens: int) -> int:
    """Return how many of the oldest messages may go: the rest fits the budget and begins a turn.

    A tool result stays with its call, so a cut is never in front of a result.
    """
    spent, cut = 0, 0
    for index in range(len(placed) - 1, 0, -1):
        spent += estimate_message(placed[index].message)
        if placed[index].message.role != "tool":
            if spent > budget_tokens and cut:
                break
            cut = index
    return cut


def _summarise(turn: Turn, folded: Context, old: tuple[Placed, ...], route: Route) -> str:
    messages = Context(summary=folded.summary, placed=old, compacted=folded.compacted).messages()
    protocol = model_call.tool_protocol(route)
    request = context.build_request(turn.run, folded, attempt=turn.attempt)
    # Servers that know tools refuse calls in a history whose tools they are not told.
    told = protocol == "native" and any(message.tool_calls for message in messages)
    asked = Request(
        model=turn.run.model,
        system="You keep the notes of a long conversation.",
        messages=(*messages, Message(role="user", content=_ASK)),
        tools=request.tools if told else (),
        generation={"max_output_tokens": SUMMARY_TOKENS, "tool_choice": "none"},
        run_id=turn.run.run_id,
        step=turn.run.step,
        attempt=turn.attempt,
        tool_protocol=protocol,
    )
    release_connection()
    try:
        provider = registry.build(routes.endpoint_for(route))
        text = collect(provider.stream(asked, cancelled=turn.hold.stop)).text
    except ProviderError as error:
        logger.warning(
            "no summary", extra={"action": "engine.compact", "run": turn.run.run_id, "cause": error.message}
        )
        text = ""
    return text.strip() or _extract(folded.summary, old)


def _extract(summary: str, old: tuple[Placed, ...]) -> str:
    """Return the beginnings of the older messages, for when no model can summarise them."""
    lines = [f"{item.message.role}: {item.message.content[:EXTRACT_CHARACTERS]}" for item in old]
    return "\n".join([summary, *lines] if summary else lines)[-EXTRACT_CHARACTERS * 20 :]


def _swallowed(folded: Context, old: tuple[Placed, ...]) -> dict[str, Any]:
    """Say which user input the summary swallowed last and how many answers followed (``Message.extra``)."""
    said: dict[str, Any] = dict(folded.compacted) or {"input": "", "assistant_messages": 0}
    for item in old:
        if item.message.role == "user":
            said = {"input": item.message.content, "assistant_messages": 0}
        elif item.message.role == "assistant":
            said["assistant_messages"] += 1
    return said
