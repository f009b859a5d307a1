"""From a neutral request to the body of a chat completion."""

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sessions_app.providers.base import ImagePart, Message, ProviderError, Request, ToolCallPart
from sessions_app.providers.text import clean

# Fields that only this process understands; the rest of ``extra`` is what the server itself once sent.
_OWN_EXTRAS = frozenset({"origin", "compacted"})
_TOOL_CHOICES = frozenset({"auto", "none", "required"})
LONGEST_MALFORMED = 2000
LONGEST_NAME = 64
_NOT_OF_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")

# What a server may not know, and what to send instead (None: leave it out).
OPTIONAL_FIELDS: dict[str, str | None] = {
    "stream_options": None,
    "parallel_tool_calls": None,
    "max_tokens": "max_completion_tokens",
}


def body(
    request: Request, *, origin: str, options: Mapping[str, Any], refused: Collection[str]
) -> dict[str, Any]:
    """The JSON body; the route's ``extra_body`` has the last word.

    ``origin`` names server and model: extras that came from elsewhere stay home, since another vendor's
    signature fields are a 400. ``refused`` are the optional fields this server rejected before.
    """
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": list(_messages(request, origin)),
        "stream": True,
        "stream_options": {"include_usage": True},
        **_tool_fields(request),
        **_generation_fields(request.generation),
    }
    for name in refused:
        value = fields.pop(name, None)
        instead = OPTIONAL_FIELDS[name]
        if instead is not None and value is not None:
            fields[instead] = value
    return fields | dict(options.get("extra_body") or {})


def _tool_fields(request: Request) -> dict[str, Any]:
    if not request.tools:
        return {}
    fields: dict[str, Any] = {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.schema),
                },
            }
            for tool in request.tools
        ]
    }
    choice = request.generation.get("tool_choice")
    if choice is not None:
        fields["tool_choice"] = _tool_choice(choice)
    if request.generation.get("allow_parallel_tool_calls") is False:
        fields["parallel_tool_calls"] = False
    return fields


def _tool_choice(choice: object) -> object:
    if isinstance(choice, str) and choice in _TOOL_CHOICES:
        return choice
    if isinstance(choice, Mapping) and isinstance(choice.get("name"), str):
        return {"type": "function", "function": {"name": choice["name"]}}
    raise ProviderError("invalid", 'tool_choice must be "auto", "none", "required" or {"name": TOOL}')


def _generation_fields(generation: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if generation.get("temperature") is not None:
        fields["temperature"] = generation["temperature"]
    if generation.get("max_output_tokens") is not None:
        fields["max_tokens"] = generation["max_output_tokens"]
    reasoning = generation.get("reasoning")
    if isinstance(reasoning, Mapping) and reasoning.get("effort"):
        fields["reasoning_effort"] = reasoning["effort"]
    wanted = generation.get("response_format")
    if isinstance(wanted, Mapping) and isinstance(wanted.get("schema"), Mapping):
        strict = bool(wanted.get("strict", False))
        schema = {"name": "answer", "schema": dict(wanted["schema"]), "strict": strict}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields


def _messages(request: Request, origin: str) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": "system", "content": clean(request.system)}
    for message in request.messages:
        if message.role == "assistant":
            if message.content.strip() or message.tool_calls:  # several servers refuse one that says nothing
                yield _assistant(message, origin)
        elif message.role == "tool":
            yield {"role": "tool", "tool_call_id": message.tool_call_id, "content": clean(_result(message))}
        else:
            yield {"role": "user", "content": _user_content(message)}


def _user_content(message: Message) -> str | list[dict[str, Any]]:
    """The text, followed by the images that were loaded."""
    text, loaded = clean(message.content), [part for part in message.images if part.data]
    if not loaded:
        return text
    return [
        {"type": "text", "text": text},
        *({"type": "image_url", "image_url": _url(part)} for part in loaded),
    ]


def _url(part: ImagePart) -> dict[str, str]:
    return {"url": f"data:{part.media_type};base64,{base64.b64encode(part.data).decode()}"}


def _assistant(message: Message, origin: str) -> dict[str, Any]:
    content = clean(message.content)
    fields: dict[str, Any] = {**_extras(message.extra, origin), "role": "assistant", "content": content}
    if message.tool_calls:
        fields["content"] = content if content.strip() else None  # some refuse an empty text beside calls
        fields["tool_calls"] = [
            {
                **_extras(call.extra, origin),
                "id": call.id,
                "type": "function",
                "function": {"name": _name(call), "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    return fields


def _extras(extra: Mapping[str, Any], origin: str) -> dict[str, Any]:
    if extra.get("origin", origin) != origin:
        return {}
    return {name: value for name, value in extra.items() if name not in _OWN_EXTRAS}


def _name(call: ToolCallPart) -> str:
    """The name as servers take it: over one that a model made up, many refuse the whole history."""
    return _NOT_OF_A_NAME.sub("_", call.name)[:LONGEST_NAME] or "unknown"


def _arguments(call: ToolCallPart) -> str:
    """The arguments as a JSON object: several servers refuse a whole history over one that is not."""
    try:
        if isinstance(json.loads(call.arguments, parse_constant=_not_json), dict):
            return clean(call.arguments)
    except (ValueError, RecursionError):
        pass
    return json.dumps({"malformed_arguments": call.arguments[:LONGEST_MALFORMED]}) if call.arguments else "{}"


def _not_json(name: str) -> None:
    raise ValueError(name)


def _result(message: Message) -> str:
    """The result text; the wire has no error flag, so an error says so in its first word."""
    if message.is_error and not message.content.lower().startswith("error"):
        return f"Error: {message.content}"
    return message.content
