"""One suite, every driver: each bench arranges the same behaviour by its own means."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sessions_app.providers import http_client, registry
from sessions_app.providers.base import Endpoint, Message, Provider, Request, Timeouts, ToolDefinition
from tests.support.llmock_server import LLMockProcess

API_KEY = "sk-canary-5f1d2c3b4a"
LIMITS = Timeouts(connect_seconds=2, read_seconds=0.4, total_seconds=10)
PATIENT = Timeouts(connect_seconds=2, read_seconds=5, total_seconds=10)
TOOLS = tuple(
    ToolDefinition(
        name=name,
        description=f"{name} of a file",
        schema={
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
            "additionalProperties": False,
        },
    )
    for name in ("read_file", "list_files")
)


def make_request(*messages: Message, **fields: Any) -> Request:
    """A request with two tools and one user message, unless told otherwise."""
    values: dict[str, Any] = {
        "model": "gpt-4o",
        "system": "You are a test.",
        "messages": messages or (Message(role="user", content="What is in latency.txt?"),),
        "tools": TOOLS,
        "generation": {},
        "run_id": "run_1",
        "step": 1,
        "attempt": 1,
    }
    return Request(**{**values, **fields})


class ScriptedBench:
    """Behaviour becomes a script."""

    name = "scripted"

    def __init__(self) -> None:
        self._turns: list[dict[str, Any]] = []
        self._fault: dict[str, Any] | None = None

    def reply(self, text: str = "", *tool_calls: tuple[str, dict[str, Any]]) -> None:
        calls = [{"name": name, "arguments": arguments} for name, arguments in tool_calls]
        self._turns.append({"text": text, "tool_calls": calls})

    def fail(self, kind: str, *, times: int | None = 1, retry_after: float | None = None) -> None:
        self._fault = {"kind": kind, "times": times}
        if retry_after is not None:
            self._fault["retry_after_seconds"] = retry_after

    def break_off(self, kind: str, after_chunks: int) -> None:
        self._fault = {"kind": {"disconnect": "transport"}.get(kind, kind), "after_chunks": after_chunks}

    def malformed_arguments(self) -> None:
        self._fault = {"kind": "malformed_arguments"}

    def provider(self, limits: Timeouts = LIMITS) -> Provider:
        turns = self._turns or [{"text": "Nothing in particular was asked for."}]
        if self._fault is not None:
            turns = [{**turns[0], "fault": self._fault}, *turns[1:]]
        endpoint = Endpoint(
            driver="scripted", api_key=API_KEY, options={"script": {"turns": turns}}, timeouts=limits
        )
        return registry.build(endpoint)

    def verify(self) -> None:
        """Nobody watched."""


class OpenAIBench:
    """Behaviour is queued at llmock, which also grades the client at the end."""

    name = "openai"
    _STATUS = {"rate_limited": 429, "quota": 429, "auth": 401, "invalid": 422, "overloaded": 503}

    def __init__(self, server: LLMockProcess) -> None:
        self._server = server

    def reply(self, text: str = "", *tool_calls: tuple[str, dict[str, Any]]) -> None:
        calls = [{"name": name, "arguments": arguments} for name, arguments in tool_calls]
        self._server.script({"type": "reply", "text": text, "tool_calls": calls})

    def fail(self, kind: str, *, times: int | None = 1, retry_after: float | None = None) -> None:
        behavior: dict[str, Any] = {"type": "fail", "status": self._STATUS.get(kind, 400), "times": times}
        if kind == "overflow":
            behavior |= {"code": "context_length_exceeded", "message": "maximum context length is 8 tokens"}
        if kind == "quota":
            behavior |= {"code": "insufficient_quota", "message": "You exceeded your current quota"}
        if retry_after is not None:
            behavior["retry_after"] = retry_after
        self._server.script(behavior)

    def break_off(self, kind: str, after_chunks: int) -> None:
        self._server.script(
            {"type": "stream_fault", "kind": kind, "after_chunks": after_chunks, "stall_seconds": 5}
        )

    def malformed_arguments(self) -> None:
        self._server.script({"type": "tool_fault", "kind": "malformed_arguments"})

    def provider(self, limits: Timeouts = LIMITS) -> Provider:
        endpoint = Endpoint(driver="openai", base_url=self._server.base_url, api_key=API_KEY, timeouts=limits)
        return registry.build(endpoint)

    def verify(self) -> None:
        verdict = self._server.verdict()
        assert verdict["errors"] == 0, verdict["findings"]


Bench = ScriptedBench | OpenAIBench


@pytest.fixture(scope="session")
def llmock_process() -> Iterator[LLMockProcess]:
    with LLMockProcess("--tool-mode", "auto") as server:
        yield server


@pytest.fixture(params=["scripted", "openai"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "scripted":
        yield ScriptedBench()
        return
    server: LLMockProcess = request.getfixturevalue("llmock_process")
    server.reset()
    chosen = OpenAIBench(server)
    try:
        yield chosen
        chosen.verify()
    finally:
        http_client.close()


@pytest.fixture
def cancelled() -> threading.Event:
    return threading.Event()
