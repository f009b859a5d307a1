"""``python -m bench._model PORT``: an OpenAI-compatible model, written on the bare streams of an event loop.

It shares the machine with what is measured, so it does next to nothing. The name of the model says what it
does: ``bench ms=1000`` answers two words after a second, ``bench tool=list_files`` asks for that tool first
and answers once it has a result. ``GET /waiting`` says how many calls waited at once, and forgets it.
"""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection
from typing import Any, Final

from bench import _processes as processes
from bench._wire import read_body
from kheish_site.testing.ports import free_port

_BASE: Final = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
_USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
_NAME: Final = re.compile(rb'"model": ?"([^"]*)"')
_ROLE: Final = re.compile(rb'"role": ?"(\w+)"')
ARGUMENTS: Final = {"list_files": {}, "bash": {"command": "true", "description": "Do nothing"}}
"""What the model asks each tool."""


def name(*, ms: float = 0, tool: str = "") -> str:
    """Return the name of a model that takes so long, and asks for that tool first if one is named."""
    return f"bench ms={ms:g}" + (f" tool={tool}" if tool else "")


class Model:
    """A running model, as whoever started it sees it."""

    def __init__(self, port: int, pid: int) -> None:
        self.url, self.pid, self._port = f"http://127.0.0.1:{port}/v1", pid, port

    def most_waiting(self) -> int:
        """Return how many calls have waited at once since this was last asked."""
        wire = HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            wire.request("GET", "/waiting")
            return int(wire.getresponse().read())
        finally:
            wire.close()


@contextmanager
def serving() -> Iterator[Model]:
    """Run a model for as long as the block lasts."""
    port = free_port()
    with processes.running([sys.executable, "-m", "bench._model", str(port)]) as pid:
        processes.wait_for_port(port)
        yield Model(port, pid)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    body = {**_BASE, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _answer(*chunks: bytes) -> bytes:
    end = b"data: " + json.dumps({**_BASE, "choices": [], "usage": _USAGE}).encode() + b"\n\n"
    body = b"".join([*chunks, end, b"data: [DONE]\n\n"])
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_TEXT: Final = _answer(
    _chunk({"role": "assistant", "content": "well"}), _chunk({"content": " noted"}), _chunk({}, "stop")
)


@cache
def _call(tool: str) -> bytes:
    function = {"name": tool, "arguments": json.dumps(ARGUMENTS[tool])}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    return _answer(_chunk({"role": "assistant", "tool_calls": [call]}), _chunk({}, "tool_calls"))


@cache
def _wanted(model: bytes) -> tuple[float, str]:
    """Return the seconds and the tool that a model's name says."""
    said = dict(part.split("=", 1) for part in model.decode().split() if "=" in part)
    return float(said.get("ms", 0)) / 1000, said.get("tool", "")


class _Server:
    def __init__(self) -> None:
        self._waiting = self._most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection for as long as it lasts."""
        try:
            while True:
                body = await read_body(reader)
                writer.write(await self._answer(body) if body else self._tell())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, body: bytes) -> bytes:
        named = _NAME.search(body)
        seconds, tool = _wanted(named[1]) if named else (0.0, "")
        self._waiting += 1
        self._most = max(self._most, self._waiting)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1
        return _call(tool) if tool and _ROLE.findall(body)[-1] != b"tool" else _TEXT

    def _tell(self) -> bytes:
        told, self._most = str(self._most).encode(), self._waiting
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(told), told)


async def _main(port: int) -> None:
    server = await asyncio.start_server(_Server().serve, "127.0.0.1", port, backlog=1024, limit=2**24)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
