"""From the chunks of a chat completion to neutral parts.

Compatible servers differ most here: calls without index or id, one id for all calls, names repeated in
every piece, whole calls in one piece with ``finish_reason`` "stop", usage missing. Each rule below stands
for a server that does it.
"""

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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

# Fields outside the protocol that a server wants back with the message; others (token ids, annotations)
# are for the reader only, and strict servers refuse them.
_WANTED_BACK = re.compile(r"reasoning|thinking|thought|extra_content|signature|encrypted")
_REASONING_FIELDS = ("reasoning_content", "reasoning")
LONGEST_ANSWER_CHARACTERS = 8 * 1024 * 1024
"""Of text, thinking and calls: several times the largest window there is."""
MOST_TOKENS = 2**31 - 1
"""Of one call: what a column holds."""
MOST_CALLS = 1000
"""Tool calls of one answer; each costs rows, also one that is refused."""
_NO_CHOICES = "the server sent a chunk without choices"
_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
}
# What servers say when it was they who could not go on; what had come by then is no answer.
_GAVE_UP = frozenset(
    {
        "error",
        "abort",
        "aborted",
        "cancelled",
        "insufficient_system_resource",
        "malformed_function_call",
        "network_error",
    }
)


@dataclass(kw_only=True)
class _Call:
    index: int
    id: str
    name: str = ""
    server_id: str = ""
    arguments: list[str] = field(default_factory=list)
    joiner: TextJoiner = field(default_factory=TextJoiner)

    def is_whole(self) -> bool:
        """Whether the arguments are complete, so that more of them must belong to another call."""
        last = next((piece for piece in reversed(self.arguments) if piece.strip()), "")
        if not last.rstrip().endswith("}"):
            return False
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
        self._left = LONGEST_ANSWER_CHARACTERS
        self._extra: dict[str, Any] = {}
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._tools = frozenset(tool.name for tool in request.tools)
        self._taken_ids = {call.id for message in request.messages for call in message.tool_calls}

    def parts(self, chunk: object) -> Iterator[Part]:
        """The parts of a decoded chunk. Raises ProviderError when the chunk is an error in disguise."""
        fields = _mapping(chunk)
        self._request_id = self._request_id or clean(_string(fields.get("id")))
        usage, choices = fields.get("usage"), fields.get("choices")
        if usage is not None:
            self._usage = _usage(_mapping(usage))
        if not isinstance(choices, list):
            if usage is None:
                raise openai_errors.from_stream_body(fields or _NO_CHOICES, secrets=self._secrets)
            return
        for choice in map(_mapping, choices):
            if not choice.get("index"):  # answers beside the first were not asked for
                yield from self._delta(_mapping(choice.get("delta")))
                self.finish_reason = _string(choice.get("finish_reason")) or self.finish_reason

    def finish(self) -> Iterator[Part]:
        """The closing parts. Raises ProviderError when the server never said it was done, or gave up."""
        said = self.finish_reason.lower()
        if not said:
            raise ProviderError("transport", "the answer ended before it was complete")
        if said in _GAVE_UP:
            raise ProviderError("overloaded", f"the server gave up on its answer ({said})")
        if rest := self._text.rest():
            yield TextDelta(rest)
        for call in self._calls:
            if rest := call.joiner.rest():
                yield ToolCallDelta(call.index, call.id, call.name, rest)
        yield self._usage or Usage(
            estimate_request(self._request), estimate_tokens("".join(self._written)), estimated=True
        )
        reason: FinishReason = _FINISH_REASONS.get(said, "stop")
        if self._calls and reason == "stop":
            reason = "tool_calls"  # some servers say "stop" after a call
        extra = clean_json({**self._extra, "origin": self._origin}) if self._extra else {}
        yield Finished(reason, self._request_id, extra)

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Part]:
        for text in (_text_of(delta.get("content")), _string(delta.get("refusal"))):
            joined = self._text.add(text)
            if joined:
                self._write(joined)
                yield TextDelta(joined)
        for name, value in _extras(delta):
            self._count(len(value) if isinstance(value, str) else len(str(value)))
            before = self._extra.get(name)
            grows = isinstance(value, str | list) and type(before) is type(value)
            self._extra[name] = before + value if grows else value
        thought = next((delta[name] for name in _REASONING_FIELDS if delta.get(name)), None)
        if isinstance(thought, str):
            self._write(thought)
            yield ReasoningDelta(clean(thought))
        tool_calls = delta.get("tool_calls")
        for tool_call in tool_calls if isinstance(tool_calls, list) else ():
            yield self._tool_delta(_mapping(tool_call))

    def _tool_delta(self, delta: Mapping[str, Any]) -> ToolCallDelta:
        function = _mapping(delta.get("function"))
        name, arguments = clean(_string(function.get("name"))), function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)  # an object where the protocol has its text
        call = self._call_for(_index(delta.get("index")), clean(_string(delta.get("id"))), name, arguments)
        if not call.name or self._is_rest_of_name(call, name):
            call.name += name
        call.arguments.append(arguments)
        self._write(name + arguments)
        extra = dict(_extras(delta))
        if extra:
            extra["origin"] = self._origin
        return ToolCallDelta(call.index, call.id, call.name, call.joiner.add(arguments), clean_json(extra))

    def _write(self, text: str) -> None:
        self._written.append(text)
        self._count(len(text))

    def _count(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise openai_errors.too_large()

    def _call_for(self, index: int | None, server_id: str, name: str, arguments: str) -> _Call:
        call = self._latest(index, server_id)
        if call is None or self._begins_another(call, server_id, name, arguments):
            if len(self._calls) >= MOST_CALLS:
                raise openai_errors.too_large()
            call = _Call(index=len(self._calls), id=self._mint(server_id), server_id=server_id)
            self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _latest(self, index: int | None, server_id: str) -> _Call | None:
        """The call that a piece continues, unless it begins another."""
        if index is not None:
            return self._by_index.get(index)
        same = (call for call in reversed(self._calls) if server_id and call.server_id == server_id)
        return next(same, self._calls[-1] if self._calls else None)

    def _begins_another(self, call: _Call, server_id: str, name: str, arguments: str) -> bool:
        """Tell pieces of one call from whole calls that share an index, an id or nothing at all."""
        if not name:
            return False  # some mint an id for every piece
        if server_id and call.server_id not in ("", server_id):
            return True
        if arguments.strip() and call.is_whole():
            return True
        if server_id or not call.name:
            return False
        return name != call.name and not self._is_rest_of_name(call, name)

    def _is_rest_of_name(self, call: _Call, name: str) -> bool:
        if not name or name in self._tools or any(call.arguments):
            return False
        return any(tool.startswith(call.name + name) for tool in self._tools)

    def _mint(self, server_id: str) -> str:
        """An id that no other call of the conversation has; servers repeat theirs or leave it empty."""
        chosen = server_id if server_id and server_id not in self._taken_ids else f"call_{uuid.uuid4().hex}"
        self._taken_ids.add(chosen)
        return chosen


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) else None


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text_of(content: object) -> str:
    """The text of a delta; some servers send a list of typed pieces."""
    if isinstance(content, list):
        pieces = [piece.get("text") for piece in content if isinstance(piece, Mapping)]
        return "".join(piece for piece in pieces if isinstance(piece, str))
    return _string(content)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _extras(delta: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in delta.items() if value is not None and _WANTED_BACK.match(name))


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if all(isinstance(count, int) and 0 <= count <= MOST_TOKENS for count in counts):
        return Usage(int(counts[0] or 0), int(counts[1] or 0), estimated=False)
    return None
