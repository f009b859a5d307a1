"""Driver ``scripted``: answers from a script, and the reference for what a driver does.

Options of a route: ``script`` (a bundled name, YAML text, or the script itself), ``script_path``,
``delay_ms``, ``chunk_delay_ms``, ``images``. Deltas are words, as a server would stream them.
"""

import json
import re
import threading
from collections.abc import Iterator

from kheish_site.lib.canonical import digest
from sessions_app.providers import script_file, script_turns
from sessions_app.providers.base import (
    Cancelled,
    Delta,
    Endpoint,
    ErrorKind,
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
from sessions_app.providers.script_file import Fault, Turn
from sessions_app.providers.script_turns import Conversation
from sessions_app.providers.tokens import estimate_request, estimate_tokens

_WORD = re.compile(r"\s*\S+\s*|\s+")
_ARGUMENTS_PIECE = 24  # characters

_MESSAGES: dict[ErrorKind, str] = {
    "overflow": "the conversation is longer than the model's context window",
    "rate_limited": "too many requests",
    "auth": "the credentials are refused",
    "invalid": "the request is refused",
    "overloaded": "the model is overloaded",
    "transport": "the connection was lost",
    "unknown": "something went wrong",
}


class Scripted:
    """A ``Provider`` that plays a script."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._script = script_file.from_options(endpoint.options)
        self._silence_seconds = endpoint.limits().read_seconds

    def stream(self, request: Request, *, cancelled: threading.Event) -> Iterator[Part]:
        """See ``Provider.stream``. Both tool protocols look the same here: a script has no wire."""
        conversation = script_turns.read(request)
        turn = script_turns.choose(self._script, conversation)
        fault = turn.fault if turn.fault is not None and turn.fault.strikes(request.attempt) else None
        _pause(turn.delay_seconds, cancelled)
        deltas = list(_deltas(turn, request, conversation, fault))
        for number, delta in enumerate(deltas):
            if fault is not None and number == fault.after_chunks:
                self._strike(fault, cancelled)
            _pause(turn.chunk_delay_seconds, cancelled)
            yield delta
        if fault is not None and fault.after_chunks >= len(deltas):
            self._strike(fault, cancelled)
        yield turn.usage or _estimate(request, deltas)
        yield _finished(turn, request, deltas)

    def _strike(self, fault: Fault, cancelled: threading.Event) -> None:
        if fault.kind == "malformed_arguments":
            return  # that one is in the arguments
        if fault.kind == "stall":
            seconds = self._silence_seconds if fault.stall_seconds is None else fault.stall_seconds
            _pause(seconds, cancelled)
            raise ProviderError("transport", fault.message or f"no answer in {seconds:g} seconds")
        kind: ErrorKind = "rate_limited" if fault.kind == "quota" else _kind(fault.kind)
        raise ProviderError(
            kind,
            fault.message or ("the quota is used up" if fault.kind == "quota" else _MESSAGES[kind]),
            retry_after_seconds=fault.retry_after_seconds,
            retryable=False if fault.kind == "quota" else None,
        )


def _kind(name: str) -> ErrorKind:
    return next(kind for kind in _MESSAGES if kind == name)


def _pause(seconds: float, cancelled: threading.Event) -> None:
    """Wait, but end the stream at once when it is cancelled."""
    if cancelled.wait(seconds) if seconds > 0 else cancelled.is_set():
        raise Cancelled


def _deltas(turn: Turn, request: Request, conversation: Conversation, fault: Fault | None) -> Iterator[Delta]:
    yield from (ReasoningDelta(word) for word in _WORD.findall(conversation.fill(turn.reasoning)))
    yield from (TextDelta(word) for word in _WORD.findall(conversation.fill(turn.text)))
    if request.generation.get("tool_choice") == "none":
        return
    for index, call in enumerate(turn.tool_calls):
        # The same call gets the same id in every attempt and after every crash.
        call_id = f"call_{digest([request.run_id, request.step, conversation.answers, index])[:24]}"
        arguments = json.dumps(conversation.fill(call.arguments), ensure_ascii=False)
        if fault is not None and fault.kind == "malformed_arguments":
            arguments = arguments[:-1]
        for start in range(0, len(arguments), _ARGUMENTS_PIECE):
            yield ToolCallDelta(index, call_id, call.name, arguments[start : start + _ARGUMENTS_PIECE])


def _estimate(request: Request, deltas: list[Delta]) -> Usage:
    written = "".join(
        delta.arguments_delta if isinstance(delta, ToolCallDelta) else delta.text for delta in deltas
    )
    return Usage(estimate_request(request), estimate_tokens(written), estimated=True)


def _finished(turn: Turn, request: Request, deltas: list[Delta]) -> Finished:
    calls = any(isinstance(delta, ToolCallDelta) for delta in deltas)
    reason: FinishReason = turn.finish_reason or ("tool_calls" if calls else "stop")
    thought = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    extra = {"reasoning_content": thought} if thought else {}
    return Finished(reason, f"scripted-{request.run_id}-{request.step}-{request.attempt}", extra)
