"""The second way to call tools: one JSON object per answer, its shape enforced by the server.

Small models write poor native tool calls but follow a grammar. ``response_format: json_schema`` leaves
them two choices: ``{"action": TOOL, "arguments": {...}}`` or ``{"action": "final", "answer": TEXT}``.
``encode`` puts tools and history into plain messages, ``decode`` turns the object back into neutral parts.
"""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, groupby
from typing import Any

from sessions_app.providers.base import (
    Finished,
    FinishReason,
    Message,
    Part,
    Request,
    TextDelta,
    ToolCallDelta,
    Usage,
)

FINAL = "final"
_FENCE = re.compile(r"\A\s*```[a-z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_RULES = (
    'Answer with one JSON object and nothing else. To use a tool: {"action": TOOL, "arguments": {...}}. '
    'When no tool is needed any more: {"action": "final", "answer": TEXT}. One tool at a time; its result '
    "comes in the next message."
)


def encode(request: Request) -> Request:
    """The same request in plain messages, with the tools described in the system prompt."""
    messages = tuple(_merge(_plain(request)))
    if not request.tools:
        return replace(request, messages=messages, tool_protocol="native")
    generation = {
        name: value
        for name, value in request.generation.items()
        if name not in ("tool_choice", "allow_parallel_tool_calls")
    }
    generation["response_format"] = {"type": "structured_json", "schema": schema(request), "strict": True}
    catalogue = "\n".join(
        f"- {tool.name}: {tool.description} Arguments: {json.dumps(tool.schema)}" for tool in request.tools
    )
    return replace(
        request,
        system=f"{request.system}\n\n{_RULES}\n\nTools:\n{catalogue}".strip(),
        messages=messages,
        tools=(),
        generation=generation,
        tool_protocol="native",
    )


def schema(request: Request) -> dict[str, Any]:
    """The JSON schema of one answer, narrowed by ``tool_choice``."""
    choice = request.generation.get("tool_choice")
    only = choice.get("name") if isinstance(choice, dict) else None
    tools = [tool for tool in request.tools if choice != "none" and only in (None, tool.name)]
    forms = [_form(tool.name, "arguments", dict(tool.schema)) for tool in tools]
    if only is None and (choice != "required" or not forms):
        forms.append(_form(FINAL, "answer", {"type": "string"}))
    return {"anyOf": forms}


def decode(parts: Iterator[Part], request: Request) -> Iterator[Part]:
    """Turn the streamed object into text or one tool call. What is no such object is taken as the answer."""
    written: list[str] = []
    usage: list[Part] = []
    for part in parts:
        if isinstance(part, TextDelta):
            written.append(part.text)
        elif isinstance(part, Usage):
            usage.append(part)
        elif isinstance(part, Finished):
            shown, reason = _read("".join(written), part.reason, offers_tools=bool(request.tools))
            yield shown
            yield from usage
            yield replace(part, reason=reason)
        else:
            yield part


def _read(text: str, reason: FinishReason, *, offers_tools: bool) -> tuple[Part, FinishReason]:
    answer = _object(text) if offers_tools else None
    if answer is None:
        return TextDelta(text), reason
    action = answer["action"]
    if action == FINAL:
        final = answer.get("answer", "")
        return TextDelta(final if isinstance(final, str) else json.dumps(final)), reason
    arguments = json.dumps(answer.get("arguments", {}))
    return ToolCallDelta(0, f"call_{uuid.uuid4().hex}", action, arguments), "tool_calls"


def _object(text: str) -> dict[str, Any] | None:
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("action"), str) else None


def _form(action: str, field: str, field_schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"action": {"const": action}, field: field_schema},
        "required": ["action", field],
        "additionalProperties": False,
    }


def _plain(request: Request) -> Iterator[Message]:
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    for message in request.messages:
        if message.role == "tool":
            outcome = "Error" if message.is_error else "Result"
            name = names.get(message.tool_call_id, "the tool")
            yield Message(role="user", content=f"{outcome} of {name}:\n{message.content}")
        elif message.role == "assistant":
            yield from _assistant(message)
        else:
            yield message


def _assistant(message: Message) -> Iterator[Message]:
    if message.content and not message.tool_calls:
        yield Message(role="assistant", content=json.dumps({"action": FINAL, "answer": message.content}))
    for call in message.tool_calls:
        action = f'{{"action": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}'
        yield Message(role="assistant", content=action)


def _merge(messages: Iterator[Message]) -> Iterator[Message]:
    """Join neighbours of one role: the templates of small models insist on taking turns."""
    for role, group in groupby(messages, key=lambda message: message.role):
        members = list(group)
        content = "\n\n".join(member.content for member in members)
        images = tuple(chain.from_iterable(member.images for member in members))
        yield members[0] if len(members) == 1 else Message(role=role, content=content, images=images)
