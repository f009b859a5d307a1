"""A target of deliveries that takes everything and notes when what came; on an event loop in a thread."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from bench._wire import read_body

_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Target:
    """Any path is a target of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._came: list[tuple[float, bytes]] = []
        self._news = threading.Condition()

    def handle(self, name: str) -> dict[str, Any]:
        """Return the reply target of that name."""
        url = f"http://127.0.0.1:{self.port}/{name}"
        return {"plugin": "http", "address": {"url": url, "allow_private_network": True}}

    def arrivals(self, count: int, seconds: float) -> list[tuple[float, str]]:
        """Wait for so many messages or so long; returns when each came (time.time) and its run."""
        with self._news:
            self._news.wait_for(lambda: len(self._came) >= count, seconds)
            return [(when, str(json.loads(body)["run_id"])) for when, body in self._came]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what comes over one connection."""
        try:
            while True:
                body = await read_body(reader)
                when = time.time()
                writer.write(_OK)
                await writer.drain()
                with self._news:
                    self._came.append((when, body))
                    self._news.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


@contextmanager
def listening() -> Iterator[Target]:
    """Listen for as long as the block lasts."""
    target, loop, ready = Target(), asyncio.new_event_loop(), Future[int]()

    async def start() -> asyncio.Server:
        server = await asyncio.start_server(target.serve, "127.0.0.1", 0, backlog=1024)
        ready.set_result(server.sockets[0].getsockname()[1])
        return server

    def work() -> None:
        server = loop.run_until_complete(start())
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        target.port = ready.result(10)
        yield target
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
