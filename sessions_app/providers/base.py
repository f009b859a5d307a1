"""The neutral shapes every driver speaks: a request, streamed parts, a completion, one family of failures.

A driver is a ``Provider``. It waits for the outside world, so callers hold no database connection and no
transaction while they iterate over its parts.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

Role = Literal["user", "assistant", "tool"]
ErrorKind = Literal["overflow", "rate_limited", "auth", "invalid", "overloaded", "transport", "unknown"]
FinishReason = Literal["stop", "tool_calls", "length", "content_filter"]
ToolProtocol = Literal["native", "json"]

RETRYABLE_KINDS: frozenset[ErrorKind] = frozenset({"rate_limited", "overloaded", "transport"})


@dataclass(frozen=True, kw_only=True, eq=False)
class ToolDefinition:
    """A tool as the model sees it; ``schema`` is the JSON schema of its arguments object.

    One is made for each tool of the process and is equal to itself alone, so that others may keep what they
    know of it.
    """

    name: str
    description: str
    schema: Mapping[str, Any]

    @cached_property
    def schema_json(self) -> str:
        """The schema as it is sent."""
        return json.dumps(self.schema)


@dataclass(frozen=True, kw_only=True)
class ToolCallPart:
    """A call the model asked for. ``arguments`` is the raw text it wrote, which need not be JSON."""

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImagePart:
    """An image of a message. ``data`` is empty until it is loaded for a route that takes images."""

    asset_id: str
    media_type: str
    sha256: str
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of the conversation.

    ``extra`` of an assistant message is what the driver put into ``Finished.extra``; storing it and giving
    it back is how ``reasoning_content`` and thought signatures survive a round trip. A summary that stands
    for messages which are no longer sent may carry ``extra["compacted"] = {"input": str,
    "assistant_messages": int}``: the last user input it swallowed and how many answers followed it.
    ``images`` go with a user's text, which names them; a driver sends those that hold data.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCallPart, ...] = ()
    tool_call_id: str = ""
    is_error: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[ImagePart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One model call.

    ``generation`` may hold ``temperature``, ``max_output_tokens``, ``tool_choice`` ("auto", "none",
    "required" or ``{"name": tool}``), ``allow_parallel_tool_calls``, ``response_format`` ("text" or
    ``{"type": "structured_json", "schema": {...}}``) and ``reasoning`` (``{"effort": str}``); absent and
    None both mean the server's default. ``step`` and ``attempt`` count from 1.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    generation: Mapping[str, Any]
    run_id: str
    step: int
    attempt: int
    tool_protocol: ToolProtocol = "native"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the model's thinking; shown to people, never part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of call number ``index`` (from 0).

    The first delta of a call carries its id and name. A later one may carry more of the name: all there is
    of it by then.
    """

    index: int
    id: str
    name: str
    arguments_delta: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of this call. ``estimated`` when the server did not say."""

    input_tokens: int
    output_tokens: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The last part. A stream that ends without one failed."""

    reason: FinishReason
    request_id: str
    extra: Mapping[str, Any] = field(default_factory=dict)


Part = TextDelta | ReasoningDelta | ToolCallDelta | Usage | Finished
Delta = TextDelta | ReasoningDelta | ToolCallDelta


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A whole answer."""

    text: str
    tool_calls: tuple[ToolCallPart, ...]
    usage: Usage
    finish_reason: FinishReason
    request_id: str
    extra: Mapping[str, Any]

    def message(self) -> Message:
        """The assistant message to keep and to send back in the next request."""
        return Message(role="assistant", content=self.text, tool_calls=self.tool_calls, extra=self.extra)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Limits of one call in seconds: to connect, between two pieces of the answer, and for all of it."""

    connect_seconds: float = 10.0
    read_seconds: float = 180.0
    total_seconds: float = 1200.0

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Timeouts":
        """Read ``{connect,read,total}_timeout_seconds`` of a route's options; ProviderError if unusable."""
        given: dict[str, float] = {}
        for name in ("connect", "read", "total"):
            value = options.get(f"{name}_timeout_seconds")
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86400:
                raise ProviderError(
                    "invalid", f"option {name}_timeout_seconds must be above 0, at most 86400"
                )
            given[f"{name}_seconds"] = float(value)
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where and how a route reaches its model. The key never shows in a repr."""

    driver: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeouts: Timeouts | None = None

    @property
    def takes_images(self) -> bool:
        """Whether the model reads images (option ``images``). Raises ProviderError if that is no flag."""
        given = self.options.get("images", False)
        if not isinstance(given, bool):
            raise ProviderError("invalid", "option images must be true or false")
        return given

    def limits(self) -> Timeouts:
        """The timeouts given, else those of the options, else the defaults."""
        return self.timeouts or Timeouts.from_options(self.options)


class Provider(Protocol):
    """One configured driver. Instances may be shared by threads; each stream belongs to one thread."""

    def stream(self, request: Request, *, cancelled: threading.Event) -> Iterator[Part]:
        """Yield deltas, then one Usage, then one Finished.

        Raises ProviderError when the call fails, and Cancelled soon after ``cancelled`` is set. Closing the
        iterator early releases the connection.
        """
        ...


class ProviderError(Exception):
    """A model call failed. The message is safe to journal and to show: it never holds a credential."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        status: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.status = status
        self._retryable = retryable

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later. An exhausted quota is rate_limited but is not."""
        return self.kind in RETRYABLE_KINDS if self._retryable is None else self._retryable


class Cancelled(Exception):
    """The caller's event was set; whatever had been streamed is no answer."""


@dataclass(kw_only=True)
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def part(self) -> ToolCallPart:
        return ToolCallPart(id=self.id, name=self.name, arguments="".join(self.arguments), extra=self.extra)


class _Assembly:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.calls: dict[int, _Call] = {}
        self.usage = Usage(0, 0, estimated=True)
        self.finished: Finished | None = None

    def add(self, part: Part) -> None:
        match part:
            case TextDelta(text):
                self.text.append(text)
            case ToolCallDelta(index, call_id, name, arguments, extra):
                call = self.calls.setdefault(index, _Call(id=call_id, name=name))
                call.name = name or call.name
                call.arguments.append(arguments)
                call.extra.update(extra)
            case Usage():
                self.usage = part
            case Finished():
                self.finished = part

    def completion(self) -> Completion:
        if self.finished is None:
            raise ProviderError("transport", "the answer ended before it was complete")
        return Completion(
            text="".join(self.text),
            tool_calls=tuple(self.calls[index].part() for index in sorted(self.calls)),
            usage=self.usage,
            finish_reason=self.finished.reason,
            request_id=self.finished.request_id,
            extra=self.finished.extra,
        )


def collect(parts: Iterable[Part], on_delta: Callable[[Delta], None] | None = None) -> Completion:
    """Put a stream together, handing each delta to ``on_delta`` as it arrives.

    Raises whatever the stream raises, and ProviderError(transport) when it ends without Finished. The
    stream is closed on every way out, so an ``on_delta`` that raises also stops the model call.
    """
    assembly = _Assembly()
    try:
        for part in parts:
            assembly.add(part)
            if on_delta is not None and isinstance(part, Delta):
                on_delta(part)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    return assembly.completion()
