"""A small HTTP service that plays the shapes of the API, with faults on demand."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "kh_test_token"


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Stream:
    """Chunks of an event stream. `drop` ends the connection in mid-air after them."""

    chunks: list[bytes]
    drop: bool = False


Handler = Callable[[Seen], Any]


def problem(status: int, code: str, detail: str, **extra: Any) -> Answer:
    body = {
        "type": f"urn:kheish:problem:{code}",
        "title": code,
        "status": status,
        "detail": detail,
        "code": code,
    }
    return Answer(status, body | extra, {"Content-Type": "application/problem+json"})


def frame(seq: int, kind: str, **payload: Any) -> bytes:
    entry = {
        "seq": seq,
        "kind": kind,
        "session_id": "demo",
        "run_id": "run_1",
        "at": "2026-01-01T10:00:00Z",
        "payload": payload,
    }
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(entry)}\n\n".encode()


def delta(text: str) -> bytes:
    return f"event: message.delta\ndata: {json.dumps({'run_id': 'run_1', 'text': text})}\n\n".encode()


ENDED = b'event: run.ended\ndata: {"run_id": "run_1", "status": "completed"}\n\n'


def page(*items: Any, next_cursor: str | None = None, total: int | None = None) -> dict[str, Any]:
    pagination = {
        "limit": 50,
        "total_count": len(items) if total is None else total,
        "has_more": next_cursor is not None,
        "next_cursor": next_cursor,
        "order": "desc",
    }
    return {"items": list(items), "pagination": pagination}


class FakeService:
    """Answers by (method, path). A route holds one answer, a list used up in order, or a function.

    `drop_next` closes that many connections after reading the request, as a dying server does.
    """

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Any] = {}
        self.seen: list[Seen] = []
        self.drop_next = 0
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, method: str, path: str, answer: Any) -> None:
        self.routes[method, path] = answer

    def start(self) -> None:
        service = self

        class Served(_Served):
            fake = service

        self._server = _Quiet(("127.0.0.1", self.port), Served)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def last(self, method: str = "POST") -> Seen:
        return [seen for seen in self.seen if seen.method == method][-1]

    def answer(self, seen: Seen) -> Any:
        found = self.routes.get((seen.method, seen.path))
        if isinstance(found, list):
            found = found.pop(0)
        if callable(found):
            found = found(seen)
        if found is None:
            return problem(404, "api/route_not_found", f"nothing at {seen.path}")
        return found


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is expected here."""


class _Served(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeService

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test output clean."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, parts.path, query, headers, json.loads(raw) if raw else None)
        self.fake.seen.append(seen)
        self.close_connection = True
        if self.fake.drop_next:
            self.fake.drop_next -= 1
            return
        if headers.get("authorization") != f"Bearer {TOKEN}":
            self._send(problem(401, "unauthorized", "no valid token"))
            return
        answer = self.fake.answer(seen)
        if isinstance(answer, Stream):
            self._stream(answer)
        else:
            self._send(answer if isinstance(answer, Answer) else Answer(200, answer))

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _send(self, answer: Answer) -> None:
        is_text = isinstance(answer.body, str)
        payload = answer.body.encode() if is_text else answer.body
        if not isinstance(payload, bytes):
            payload = json.dumps(answer.body).encode()
        if answer.body is None:
            payload = b""
        self.send_response(answer.status)
        kind = "text/plain" if is_text else "application/json"
        for name, value in ({"Content-Type": kind, "Connection": "close"} | answer.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _stream(self, stream: Stream) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in stream.chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        if not stream.drop:
            self.wfile.write(b"0\r\n\r\n")
