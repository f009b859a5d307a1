"""``python -m bench._readers``: many readers of streams in one process, told what to do over its input.

A line of JSON says ``{"host", "port", "token", "paths": […], "timed": bool}``; the answer is a line when all
are open. An empty line asks for what the timed readers have heard: how late each event was, in ms since its
``at``, and how many readers are still there.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from bench import _processes as processes
from bench._service import Bench
from kheish_site.supervisor.children import die_with_parent

_AT: Final = re.compile(rb'"at": ?"([^"]+)"')
_OPENING: Final = 50
_SPARE_FILES: Final = 2000


class Readers:
    """The process with the readers, as whoever started it sees it."""

    def __init__(self, bench: Bench, process: "subprocess.Popen[str]") -> None:
        address = urlsplit(bench.client.base_url)
        self._to = {"host": address.hostname, "port": address.port, "token": bench.service.token}
        self._process = process

    def open(self, paths: Sequence[str], *, timed: bool) -> None:
        """Open a reader for each path; returns when all have their first bytes. Raises RuntimeError."""
        said = self._ask(json.dumps({**self._to, "paths": list(paths), "timed": timed}))
        if said != {"open": len(paths)}:
            raise RuntimeError(f"not all streams could be opened: {said}")

    def heard(self) -> tuple[list[float], int]:
        """Return how many ms late each event came since this was last asked, and how many readers live."""
        said = self._ask("")
        return said["late"], said["alive"]

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def reading(bench: Bench) -> Iterator[Readers]:
    """Have readers for as long as the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench._readers"],
        cwd=processes.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield Readers(bench, process)
    finally:
        process.kill()
        process.communicate()


def allow(count: int) -> None:
    """Let this process, and those it starts from here on, hold so many streams."""
    processes.allow_files(count + _SPARE_FILES)


class _Process:
    def __init__(self) -> None:
        self._late: list[float] = []
        self._alive = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do what each line says until there are no more."""
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            said = await self._open(json.loads(line)) if line.strip() else self._tell()
            print(json.dumps(said), flush=True)

    def _tell(self) -> dict[str, Any]:
        late, self._late = self._late, []
        return {"late": late, "alive": self._alive}

    async def _open(self, wanted: dict[str, Any]) -> dict[str, Any]:
        turn = asyncio.Semaphore(_OPENING)
        opened = await asyncio.gather(
            *(self._reader(turn, wanted, path) for path in wanted["paths"]), return_exceptions=True
        )
        failed = [repr(each) for each in opened if isinstance(each, BaseException)]
        return {"open": len(opened)} if not failed else {"failed": failed[:3]}

    async def _reader(self, turn: asyncio.Semaphore, wanted: dict[str, Any], path: str) -> None:
        async with turn:
            reader, writer = await asyncio.open_connection(wanted["host"], wanted["port"])
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {wanted['host']}:{wanted['port']}\r\n"
                f"Authorization: Bearer {wanted['token']}\r\nAccept: text/event-stream\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise ConnectionError(head.decode(errors="replace"))
            await reader.readuntil(b"\n\n")  # the first frame
        task = asyncio.create_task(self._follow(reader, writer, timed=wanted["timed"]))
        self._tasks.add(task)

    async def _follow(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, timed: bool
    ) -> None:
        self._alive += 1
        try:
            while True:
                frame = await reader.readuntil(b"\n\n")
                if timed and (found := _AT.search(frame)):
                    self._late.append(round(1000 * (time.time() - _moment(found[1])), 2))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self._alive -= 1


@lru_cache(maxsize=4096)
def _moment(at: bytes) -> float:
    return datetime.fromisoformat(at.decode()).timestamp()


if __name__ == "__main__":
    asyncio.run(_Process().run())
