"""A way to the database that can be cut at the worst moment: after the commit, before its answer."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


class Cutter:
    """Relays connections to PostgreSQL. ``lose_answers(n)`` cuts the next ``n`` after their COMMIT."""

    def __init__(self, port: int, tell: Callable[[], object]) -> None:
        self._target, self._tell = port, tell
        self._to_lose = 0
        self.port = 0
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), name="cutter", daemon=True).start()
        self._ready.wait()

    def lose_answers(self, count: int) -> None:
        """Cut the next ``count`` connections that commit, after the commit and before its answer."""
        self._to_lose = count

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            to_client.close()
            return
        silent = asyncio.Event()
        up = asyncio.create_task(self._up(client, to_server, silent))
        down = asyncio.create_task(self._down(server, to_client, silent))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        for writer in (to_server, to_client):
            with suppress(OSError, RuntimeError):
                writer.close()

    async def _up(
        self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, silent: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await client.read(65536):
                if self._to_lose > 0 and b"COMMIT\0" in data:
                    self._to_lose -= 1
                    silent.set()
                to_server.write(data)
                await to_server.drain()

    async def _down(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, silent: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await server.read(65536):
                if silent.is_set():
                    self._tell()  # the server has committed and says so, to nobody
                    return
                to_client.write(data)
                await to_client.drain()
