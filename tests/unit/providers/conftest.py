"""What the provider tests share: requests, and a server that misbehaves on order."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sessions_app.providers import http_client, registry
from sessions_app.providers.base import (
    Completion,
    Endpoint,
    Message,
    Request,
    Timeouts,
    ToolDefinition,
    collect,
)
from tests.support.fault_server import FaultServer

API_KEY = "sk-canary-0a9b8c7d6e"
READ_FILE = ToolDefinition(
    name="read_file",
    description="Read a file.",
    schema={"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)


def make_request(*messages: Message, **fields: Any) -> Request:
    """A request with one user message and one tool, unless told otherwise."""
    values: dict[str, Any] = {
        "model": "test-model",
        "system": "You are a test.",
        "messages": messages or (Message(role="user", content="hello"),),
        "tools": (READ_FILE,),
        "generation": {},
        "run_id": "run_1",
        "step": 1,
        "attempt": 1,
    }
    return Request(**{**values, **fields})


@pytest.fixture
def cancelled() -> threading.Event:
    return threading.Event()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running
        http_client.close()


Ask = Callable[..., Completion]


@pytest.fixture
def ask(server: FaultServer, cancelled: threading.Event) -> Ask:
    """Call the server through the driver: ``ask(request, options=..., read=seconds, total=seconds)``."""

    def call(
        request: Request | None = None,
        *,
        options: dict[str, Any] | None = None,
        api_key: str = API_KEY,
        read: float = 1.0,
        total: float = 5.0,
        on_delta: Any = None,
    ) -> Completion:
        endpoint = Endpoint(
            driver="openai",
            base_url=server.base_url,
            api_key=api_key,
            options=options or {},
            timeouts=Timeouts(connect_seconds=1, read_seconds=read, total_seconds=total),
        )
        stream = registry.build(endpoint).stream(request or make_request(), cancelled=cancelled)
        return collect(stream, on_delta)

    return call
