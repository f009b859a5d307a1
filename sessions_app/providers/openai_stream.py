"""From the chunks of a chat completion to neutral parts.

Compatible servers differ most here: calls without index or id, one id for all calls, names repeated in
every piece, whole calls in one piece with ``finish_reason`` "stop", usage missing. Each rule below stands
for a server that does it.
"""

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai.types.chat import ChatCompletionChunk

from sessions_app.providers import openai_errors
from sessions_app.providers.base import (
    Finished,
    FinishReason,
    Part,
    ProviderError,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from sessions_app.providers.text import TextJoiner, clean, clean_json
from sessions_app.providers.tokens import estimate_request, estimate_tokens

_REASONING_FIELDS = ("reasoning_content", "reasoning")
_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}


@dataclass(kw_only=True)
class _Call:
    index: int
    id: str
    name: str = ""
    server_id: str = ""
    arguments: list[str] = field(default_factory=list)
    joiner: TextJoiner = field(default_factory=TextJoiner)

    def is_whole(self) -> bool:
        try:
            json.loads("".join(self.arguments))
        except (ValueError, RecursionError):
            return False
        return True


class ChunkReader:
    """Reads one stream. ``parts`` per chunk, then ``finish`` once."""

    def __init__(self, request: Request, *, origin: str, secrets: Collection[str]) -> None:
        self.finish_reason = ""
        self._request = request
        self._origin = origin
        self._secrets = secrets
        self._request_id = ""
        self._usage: Usage | None = None
        self._text = TextJoiner()
        self._written: list[str] = []
        self._extra: dict[str, Any] = {}
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._taken_ids = {call.id for message in request.messages for call in message.tool_calls}

    def parts(self, chunk: ChatCompletionChunk) -> Iterator[Part]:
        """The parts a chunk brings. Raises ProviderError when the chunk is an error in disguise."""
        self._request_id = self._request_id or clean(_string(getattr(chunk, "id", None)))
        usage = getattr(chunk, "usage", None)
        if usage is not None:
            self._usage = _usage(usage)
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list):
            if usage is None:
                raise openai_errors.from_stream_body(_as_error(chunk), secrets=self._secrets)
            return
        for choice in choices:
            if not getattr(choice, "index", 0):  # answers beside the first were not asked for
                yield from self._delta(getattr(choice, "delta", None))
                self.finish_reason = _string(getattr(choice, "finish_reason", None)) or self.finish_reason

    def finish(self) -> Iterator[Part]:
        """The closing parts. Raises ProviderError(transport) when the server never said it was done."""
        if not self.finish_reason:
            raise ProviderError("transport", "the answer ended before it was complete")
        if rest := self._text.rest():
            yield TextDelta(rest)
        for call in self._calls:
            if rest := call.joiner.rest():
                yield ToolCallDelta(call.index, call.id, call.name, rest)
        yield self._usage or Usage(
            estimate_request(self._request), estimate_tokens("".join(self._written)), estimated=True
        )
        reason: FinishReason = _FINISH_REASONS.get(self.finish_reason, "stop")
        if self._calls and reason == "stop":
            reason = "tool_calls"  # some servers say "stop" after a call
        extra = clean_json({**self._extra, "origin": self._origin}) if self._extra else {}
        yield Finished(reason, self._request_id, extra)

    def _delta(self, delta: Any) -> Iterator[Part]:
        for text in (_text_of(getattr(delta, "content", None)), _string(getattr(delta, "refusal", None))):
            joined = self._text.add(text)
            if joined:
                self._written.append(joined)
                yield TextDelta(joined)
        yield from self._extras(getattr(delta, "model_extra", None) or {})
        tool_calls = getattr(delta, "tool_calls", None)
        for tool_call in tool_calls if isinstance(tool_calls, list) else ():
            yield self._tool_delta(tool_call)

    def _extras(self, extras: Mapping[str, Any]) -> Iterator[Part]:
        for name, value in extras.items():
            if value is None:
                continue
            before = self._extra.get(name)
            grows = isinstance(value, str | list) and type(before) is type(value)
            self._extra[name] = before + value if grows else value
        thought = next((extras[name] for name in _REASONING_FIELDS if extras.get(name)), None)
        if isinstance(thought, str):
            self._written.append(thought)
            yield ReasoningDelta(clean(thought))

    def _tool_delta(self, delta: Any) -> ToolCallDelta:
        function = getattr(delta, "function", None)
        name = clean(_string(getattr(function, "name", None)))
        arguments = getattr(function, "arguments", None) or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)  # an object where the protocol has its text
        index, server_id = getattr(delta, "index", None), clean(_string(getattr(delta, "id", None)))
        call = self._call_for(index if isinstance(index, int) else None, server_id, name)
        call.name = call.name or name
        call.arguments.append(arguments)
        self._written.append(name + arguments)
        extras = getattr(delta, "model_extra", None) or {}
        extra = {key: value for key, value in extras.items() if value is not None}
        if extra:
            extra["origin"] = self._origin
        return ToolCallDelta(call.index, call.id, call.name, call.joiner.add(arguments), clean_json(extra))

    def _call_for(self, index: int | None, server_id: str, name: str) -> _Call:
        if index is None:
            call = self._unnumbered(server_id, name)
        else:
            call = self._by_index.get(index)
            if call is not None and server_id and call.server_id not in ("", server_id):
                call = None  # one index for all calls, told apart by their ids
        if call is None:
            call = _Call(index=len(self._calls), id=self._mint(server_id), server_id=server_id)
            self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _unnumbered(self, server_id: str, name: str) -> _Call | None:
        """The call that a piece without index continues, or None when it begins another."""
        if server_id:
            return next((call for call in self._calls if call.server_id == server_id), None)
        last = self._calls[-1] if self._calls else None
        if last is None or not name:
            return last
        return last if name == last.name and not last.is_whole() else None

    def _mint(self, server_id: str) -> str:
        """An id that no other call of the conversation has; servers repeat theirs or leave it empty."""
        chosen = server_id if server_id and server_id not in self._taken_ids else f"call_{uuid.uuid4().hex}"
        self._taken_ids.add(chosen)
        return chosen


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text_of(content: object) -> str:
    """The text of a delta; some servers send a list of typed pieces."""
    if isinstance(content, list):
        pieces = [piece.get("text") for piece in content if isinstance(piece, Mapping)]
        return "".join(piece for piece in pieces if isinstance(piece, str))
    return _string(content)


def _usage(usage: Any) -> Usage | None:
    counts = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
    if all(isinstance(count, int) for count in counts):
        return Usage(int(counts[0] or 0), int(counts[1] or 0), estimated=False)
    return None


def _as_error(chunk: ChatCompletionChunk) -> object:
    extra = chunk.model_extra or {}
    return extra if extra else "the server sent a chunk without choices"
