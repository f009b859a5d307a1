"""Folding: from the newest checkpoint and the entries after it to the messages a model reads.

Only ``message.created``, the entries that settle a tool call and ``checkpoint.created`` carry
conversation; everything else in the journal is about it. The result is a function of the journal alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.db.models import QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from kheish_site.lib.prepared import Prepared
from sessions_app.models import Checkpoint, JournalEntry, Run
from sessions_app.providers.base import ImagePart, Message, Request, ToolCallPart, ToolDefinition
from sessions_app.services import runtime_settings
from sessions_app.tools import registry
from sessions_app.tools.base import Tool

SETTLING: Final = ("tool.returned", "tool.denied", "tool.reconciled")
KINDS: Final = ("message.created", "checkpoint.created", *SETTLING)
LOST_RESULT: Final = "no result: the run ended before this call was settled"
BASE_PROMPT: Final = (
    "You are an agent of a durable runtime. Work in small steps with the tools you are given. "
    "Some calls wait for a person's approval; a denied call comes back as an error with the reason."
)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A message and the sequence number of the entry it comes from.

    ``call_ids`` are our ids of the calls it makes, or of the one it answers: a provider may use its own
    ids again.
    """

    seq: int
    message: Message
    call_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Context:
    """A folded conversation. ``summary`` stands for everything before the first placed message."""

    summary: str
    placed: tuple[Placed, ...]
    compacted: dict[str, Any]

    def messages(self) -> tuple[Message, ...]:
        """Return what the model is sent."""
        own = tuple(item.message for item in self.placed)
        if not self.summary:
            return own
        head = Message(
            role="user",
            content=f"Summary of the conversation so far:\n{self.summary}",
            extra={"compacted": self.compacted} if self.compacted else {},
        )
        return (head, *own)


def _conversation(session_pk: int) -> QuerySet[Any, Any]:
    newest = Checkpoint.objects.filter(session_id=session_pk).order_by("-through_seq")
    after = Coalesce(Subquery(newest.values("through_seq")[:1]), Value(0))
    found = JournalEntry.objects.filter(session_id=session_pk, kind__in=KINDS, seq__gt=after)
    return found.order_by("seq").values_list("seq", "kind", "payload")


_CONVERSATION: Final = Prepared[tuple[int, str, dict[str, Any]]](_conversation, int)


def fold(session_pk: int) -> Context:
    """Read and fold one session: one query, whatever the length of the journal before the checkpoint.

    A checkpoint's own entry comes after the entries it swallowed, so it is among the rows read.
    """
    rows = _CONVERSATION.all(session_pk)
    checkpoint: dict[str, Any] = next(
        (row[2] for row in reversed(rows) if row[1] == "checkpoint.created"), {}
    )
    return Context(
        summary=checkpoint.get("summary", ""),
        placed=tuple(_answered(_messages(row for row in rows if row[1] != "checkpoint.created"))),
        compacted=checkpoint.get("compacted", {}),
    )


def build_request(run: Run, context: Context, *, attempt: int) -> Request:
    """Return the neutral request for the next model call of ``run``."""
    return Request(
        model=run.model,
        system=system_prompt(run),
        messages=context.messages(),
        tools=_definitions(tuple(registry.all_tools().values())),
        generation=run.generation,
        run_id=run.run_id,
        step=run.step,
        attempt=attempt,
    )


def system_prompt(run: Run) -> str:
    """Return the run's system prompt: the daemon's sections as pinned, and the bound persona's soul.

    An override replaces all of it.
    """
    pinned = runtime_settings.at(run.runtime_revision)
    if pinned.system_prompt.override_prompt:
        return pinned.system_prompt.override_prompt
    soul = run.persona.soul if run.persona else ""
    parts = [BASE_PROMPT, runtime_settings.system_prompt(pinned), f"# Persona\n{soul}" if soul else ""]
    return "\n\n".join(part for part in parts if part)


@lru_cache(maxsize=1)
def _definitions(tools: tuple[Tool, ...]) -> tuple[ToolDefinition, ...]:
    return tuple(
        ToolDefinition(name=spec.name, description=spec.description, schema=spec.schema)
        for spec in (tool.spec for tool in tools)
    )


def _messages(rows: Iterable[tuple[int, str, dict[str, Any]]]) -> Iterator[Placed]:
    for seq, kind, payload in rows:
        if kind == "message.created":
            made = tuple(call["call_id"] for call in payload.get("tool_calls", ()))
            yield Placed(seq=seq, message=_spoken(payload), call_ids=made)
        else:
            yield Placed(seq=seq, message=_result(payload), call_ids=(payload["call_id"],))


def _spoken(payload: dict[str, Any]) -> Message:
    calls = tuple(
        ToolCallPart(
            id=call["provider_call_id"],
            name=call["tool_name"],
            arguments=call["arguments"],
            extra=call.get("extra", {}),
        )
        for call in payload.get("tool_calls", ())
    )
    return Message(
        role=payload["role"],
        content=payload["content"],
        tool_calls=calls,
        extra=payload.get("extra", {}),
        images=tuple(_image(part) for part in payload.get("parts", ()) if part["type"] == "image"),
    )


def _image(part: dict[str, Any]) -> ImagePart:
    return ImagePart(asset_id=part["asset_id"], media_type=part["media_type"], sha256=part["sha256"])


def _result(payload: dict[str, Any]) -> Message:
    return Message(
        role="tool",
        content=payload["content"],
        tool_call_id=payload["provider_call_id"],
        is_error=payload["is_error"],
    )


def _answered(placed: Iterable[Placed]) -> Iterator[Placed]:
    """Put each result behind its call, in the order of the calls, and answer calls that never got one.

    Results are journalled in the order they were settled, and a run may have ended with calls open;
    providers refuse both.
    """
    items = list(placed)
    results = {item.call_ids[0]: item for item in items if item.message.role == "tool"}
    for item in items:
        if item.message.role == "tool":
            continue
        yield item
        for call, call_id in zip(item.message.tool_calls, item.call_ids, strict=True):
            yield results.get(call_id) or Placed(
                seq=item.seq,
                message=Message(role="tool", content=LOST_RESULT, tool_call_id=call.id, is_error=True),
            )
