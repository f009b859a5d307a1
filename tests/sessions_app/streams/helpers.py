"""Rows to stream, and a client that speaks ASGI to the real application."""

import asyncio
import json
import threading
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlencode

from asgiref.testing import ApplicationCommunicator
from django.db import connection

from kheish_site.asgi import application
from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from sessions_app.models import Run, RunStatus, Session
from sessions_app.services import journal, tokens, writes
from sessions_app.services.doorbell import bells
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.writes import Change, Move

_T = TypeVar("_T")


async def in_thread(call: Any, *args: Any, **named: Any) -> Any:
    """Run ``call`` as another process would: in a thread, whose connection is given back."""

    def run() -> Any:
        try:
            return call(*args, **named)
        finally:
            connection.close()

    return await asyncio.get_running_loop().run_in_executor(None, run)


def in_threads(*calls: Any) -> list[threading.Thread]:
    """Start each call in a thread that gives its connection back."""

    def run(call: Any) -> None:
        try:
            call()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def make_session(session_id: str = "") -> Session:
    return Session.objects.create(session_id=session_id or new_id("session"), workspace="w")


def make_run(session: Session) -> Run:
    """Accept a run: the first journal entry is ``run.accepted``."""
    now = clock.now()
    run = Run(
        run_id=new_id("run"),
        session=session,
        route_id="echo",
        permission_mode="default",
        submitted_at=now,
        updated_at=now,
    )
    entry = journal.entry(session.session_id, "run.accepted", {"run_id": run.run_id}, run=run)
    writes.commit(Change(session_pk=session.pk, entries=(entry,), accept=run))
    return run


def append(session: Session, kind: str = "message.created", run: Run | None = None, **payload: Any) -> int:
    """Append one entry and return its sequence number."""
    return journal.append(session.pk, journal.entry(session.session_id, kind, payload, run=run)).last_seq


def finish(run: Run, status: RunStatus = RunStatus.COMPLETED) -> None:
    """Move the run to ``status`` in the commit that journals it, as the engine does."""
    entry = journal.entry(run.session.session_id, f"run.{status}", {"to": status}, run=run)
    move = Move(run_pk=run.pk, was=RunStatus(run.status), to=status, queued=-1)
    writes.commit(Change(session_pk=run.session_id, entries=(entry,), move=move))
    run.status = status


def say(session: Session, text: str) -> None:
    """Show a piece of live text of the session's run."""
    piece = Delta(
        session_pk=session.pk,
        run_pk=1,
        run_id="run_x",
        session_id=session.session_id,
        step=2,
        attempt=1,
        index=0,
        text=text,
    )
    bells.show(piece)


async def say_until_heard(session: Session, text: str, hearing: Awaitable[_T]) -> _T:
    """Say ``text`` again and again, since live text may be lost, until ``hearing`` is done."""
    heard = asyncio.ensure_future(hearing)
    while not heard.done():
        await in_thread(say, session, text)
        await asyncio.wait([heard], timeout=0.05)
    return heard.result()


def make_token(role: str = "viewer") -> str:
    """Create a token and return the ``Authorization`` header that uses it."""
    _, secret = tokens.create(new_id("t"), role=role, created_by="tests")
    return f"Bearer {secret}"


@dataclass(frozen=True)
class Frame:
    """One server-sent event."""

    event: str
    id: str
    data: Any


class Stream:
    """One GET of a stream. Use as ``async with``; leaving it is the client hanging up."""

    def __init__(self, path: str, *, headers: dict[str, str] | None = None, **query: str) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        path, _, asked = path.partition("?")
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": "&".join(filter(None, [asked, urlencode(query)])).encode(),
            "headers": [(b"host", b"localhost"), *raw],
            "client": ("127.0.0.1", 1),
        }
        self._text = b""
        self.retry = False
        self.began = ""
        self.heartbeats = 0
        self.ended = False

    async def __aenter__(self) -> "Stream":
        self._app = ApplicationCommunicator(application, self._scope)
        await self._app.send_input({"type": "http.request"})
        start = await self._app.receive_output(timeout=10)
        self.status = start["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self.ended:
            await self._app.send_input({"type": "http.disconnect"})
        await self._app.wait(timeout=10)

    async def body(self) -> Any:
        """Read the whole answer of a request that was not granted a stream."""
        while not self.ended:
            await self._more(10)
        return json.loads(self._text) if self._text else None

    async def next(self, timeout: float = 10) -> Frame | None:
        """Return the next event, or None when the server has closed the stream."""
        async with asyncio.timeout(timeout):
            while True:
                block, found, rest = self._text.partition(b"\n\n")
                if found:
                    self._text = rest
                    frame = self._parse(block.decode())
                    if frame is not None:
                        return frame
                elif self.ended:
                    return None
                else:
                    await self._more(timeout)

    async def take(self, count: int) -> list[Frame]:
        """Return the next ``count`` events."""
        frames = [await self.next() for _ in range(count)]
        assert None not in frames
        return frames  # type: ignore[return-value]

    async def rest(self) -> list[Frame]:
        """Return all events up to the end of the stream."""
        frames = []
        while (frame := await self.next()) is not None:
            frames.append(frame)
        return frames

    async def _more(self, timeout: float) -> None:
        message = await self._app.receive_output(timeout=timeout)
        self._text += message.get("body", b"")
        self.ended = not message.get("more_body", False)

    def _parse(self, block: str) -> Frame | None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        self.retry = self.retry or fields.get("retry") == "1000"
        if "retry" in fields:
            self.began = fields["id"]
        if "event" not in fields:
            self.heartbeats += block.startswith(":")
            return None
        return Frame(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
