"""The Python client, and all the command line knows about HTTP.

    client = Client()
    run = client.sessions("demo").input("Investigate the latency spike.")
    for event in run.stream():
        print(event.name)
    print(run.wait()["status"])

Needs nothing but the standard library. Without arguments it finds the service and the token as the
command line does (`kheish_site.cli.config`).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kheish_site.cli import config, interrupts
from kheish_site.cli.exits import UsageError
from kheish_site.cli.sse import PATIENCE_SECONDS, Follower, StreamEvent
from kheish_site.cli.transport import Foreign, Problem, Reply, Request, Transport, Unreachable

Json = Any

RUN_ENDED = "run.ended"
SETTLED = frozenset({"completed", "failed", "cancelled", "interrupted"})
LARGEST_PAGE = 100


def path(*parts: str) -> str:
    """`/v1/...` from parts, each quoted, so that an id can never become another path. Raises: UsageError."""
    for part in parts:
        if not part:
            raise UsageError("an id is empty", cure="Is a variable of the shell not set?")
        if "/" in part:
            raise UsageError(f"{part!r} is no id", cure="Ids hold letters, digits and . _ : @ - alone.")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """Speaks to one service. Methods raise `Unreachable`, `Problem`, `Foreign` (kheish_site.cli.transport).

    patience_seconds: how long GETs and streams outlast a restarting service; POSTs are repeated with the same
    Idempotency-Key only when the answer got lost.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        on_outage: Callable[[], None] = lambda: None,
    ) -> None:
        if base_url is None or token is None:
            found = config.resolve(base_url=base_url, token_file=None, environ=os.environ, cwd=Path.cwd())
            base_url, token = found.base_url, found.token if token is None else token
        self.base_url = config.check_url(base_url)
        self.on_outage = on_outage
        self._transport = Transport(self.base_url, token=token, timeout_seconds=timeout_seconds)

    def exchange(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request with status and headers. Every POST carries an Idempotency-Key."""
        sent = dict(headers or {})
        if method == "POST":
            sent.setdefault("Idempotency-Key", secrets.token_hex(16))
        return self._transport.send(
            Request(method=method, path=path, query=query or {}, body=body, headers=sent)
        )

    def request(
        self, method: str, path: str, body: Json = None, *, query: Mapping[str, object] | None = None
    ) -> Json:
        """One request; the parsed body."""
        return self.exchange(method, path, body, query=query).body

    def download(self, path: str) -> bytes:
        """The bytes at a path, whatever their type."""
        return self._transport.fetch(Request(method="GET", path=path))

    def get(self, path: str, *, query: Mapping[str, object] | None = None) -> Json:
        return self.request("GET", path, query=query)

    def patient_get(self, path: str, *, deadline: float | None = None) -> Json:
        """A GET that outlasts a restart of the service, up to five minutes or the deadline."""
        give_up = min(time.monotonic() + PATIENCE_SECONDS, deadline or float("inf"))
        while True:
            try:
                return self.get(path)
            except (Unreachable, Problem) as error:
                passing = isinstance(error, Unreachable) or error.status in (502, 503, 504)
                if not passing or time.monotonic() >= give_up:
                    raise
            interrupts.pause(0.3)

    def change(self, path: str, body: Json, *, method: str = "PUT", resource: str | None = None) -> Json:
        """Write with `If-Match` against the present state of `resource` (default: the path itself).

        Raises Problem 412 when somebody else changed it between the read and the write.
        """
        present = self.exchange("GET", resource or path)
        tag = present.etag
        if not tag and isinstance(present.body, dict) and "revision" in present.body:
            tag = f'"{present.body["revision"]}"'
        return self.exchange(method, path, body, headers={"If-Match": tag} if tag else {}).body

    def page(
        self,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """One page `{items, pagination}` with at most `limit` (1..100) items."""
        found = self.get(path, query={**(query or {}), "limit": min(limit, LARGEST_PAGE), "cursor": cursor})
        if not isinstance(found, dict):
            raise Foreign("the answer is no list")
        return found

    def pages(self, path: str, *, query: Mapping[str, object] | None = None) -> Iterator[Json]:
        """All items of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.page(path, query=query, limit=LARGEST_PAGE, cursor=cursor)
            yield from page["items"]
            following = page["pagination"].get("next_cursor")
            if not following or following == cursor:
                return
            cursor = following

    def stream(
        self,
        path: str,
        *,
        query: dict[str, object] | None = None,
        cursor: str | None = None,
        last_event: str = "",
        deadline: float | None = None,
    ) -> Iterator[StreamEvent]:
        """Events of an SSE path, across dropped connections and restarts: no gap, no duplicate."""
        return iter(
            Follower(
                self._transport,
                path,
                query=query,
                cursor=cursor,
                last_event=last_event,
                deadline=deadline,
                on_outage=self.on_outage,
            )
        )

    def export(
        self,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        media_type: str = "application/x-ndjson",
    ) -> Iterator[bytes]:
        """The text of an export, as pieces of bytes that may end anywhere."""
        headers = {"Accept": media_type}
        return self._transport.download(Request(method="GET", path=path, query=query or {}, headers=headers))

    def sessions(self, session_id: str) -> SessionHandle:
        return SessionHandle(self, session_id)

    def runs(self, run_id: str) -> RunHandle:
        return RunHandle(self, run_id)


class SessionHandle:
    """One session by id; nothing is fetched until a method asks."""

    def __init__(self, client: Client, session_id: str) -> None:
        self.client = client
        self.session_id = session_id

    def get(self) -> Json:
        return self.client.get(path("sessions", self.session_id))

    def create(self, **fields: Json) -> Json:
        return self.client.request("POST", path("sessions"), {"session_id": self.session_id, **fields})

    def input(self, content: str, **fields: Json) -> RunHandle:
        """Submit work; returns as soon as it is durably accepted."""
        body = {"content": content, **fields}
        run = self.client.request("POST", path("sessions", self.session_id, "runs"), body)
        return RunHandle(self.client, run["run_id"])

    def events(self) -> Iterator[Json]:
        return self.client.pages(path("sessions", self.session_id, "events"))

    def stream(self, cursor: str | None = None) -> Iterator[StreamEvent]:
        return self.client.stream(path("sessions", self.session_id, "stream"), cursor=cursor)


class RunHandle:
    """One run by id; nothing is fetched until a method asks."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def get(self) -> Json:
        return self.client.get(path("runs", self.run_id))

    def why(self) -> Json:
        return self.client.get(path("runs", self.run_id, "why"))

    def cancel(self) -> Json:
        return self.client.request("POST", path("runs", self.run_id, "cancel"), {})

    def events(self) -> Iterator[Json]:
        return self.client.pages(path("runs", self.run_id, "events"))

    def stream(self, *, cursor: str | None = "0", deadline: float | None = None) -> Iterator[StreamEvent]:
        """Events from `cursor` (default the start) to the end of the run, `run.ended` included."""
        return self.client.stream(
            path("runs", self.run_id, "stream"), cursor=cursor, last_event=RUN_ENDED, deadline=deadline
        )

    def wait(self, *, timeout_seconds: float | None = None) -> Json:
        """Block until the run settled; its final view. Raises TimedOut (kheish_site.cli.exits)."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for _ in self.stream(deadline=deadline):
            pass
        return self.client.patient_get(path("runs", self.run_id), deadline=deadline)
