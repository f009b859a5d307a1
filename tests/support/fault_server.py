"""A model server that answers with exactly the bytes a test gives it, whatever HTTP thinks of them."""

import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Exchange"], None]


class Exchange:
    """One request being answered."""

    def __init__(self, handler: BaseHTTPRequestHandler, gone: threading.Event) -> None:
        length = int(handler.headers.get("content-length") or 0)
        self.path = handler.path
        self.headers = dict(handler.headers.items())
        self.peer = handler.client_address
        self.body: dict[str, Any] = json.loads(handler.rfile.read(length) or b"{}")
        self._handler = handler
        self._gone = gone

    def head(self, status: int = 200, **headers: str) -> None:
        """Send the status line and headers (underscores become dashes)."""
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.flush()

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def chunk(self, data: bytes) -> None:
        """Send one piece of a chunked body; an empty one ends it."""
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def wait(self, seconds: float) -> None:
        """Say nothing until the server is closed, at most so long."""
        self._gone.wait(seconds)

    def close(self) -> None:
        """Do not keep the connection."""
        self._handler.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up, which is what many tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class FaultServer:
    """Start it with ``with``. ``answer`` is called for each request, which ``exchanges`` keeps."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.answer: Answer = stream(text("ok"), finish())
        self._scheme = "http"
        self._gone = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "FaultServer":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def base_url(self) -> str:
        """What a route of the driver ``openai`` needs."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/v1"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._scheme = "https"
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                exchange = Exchange(self, owner._gone)
                owner.exchanges.append(exchange)
                try:
                    owner.answer(exchange)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Tests read ``exchanges``."""

        return Handler


def sse(*events: Any) -> bytes:
    """Events as a server sends them: JSON for objects, as they are for bytes."""
    return b"".join(
        event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    )


def delta(**fields: Any) -> dict[str, Any]:
    """A chunk whose delta has these fields."""
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields}]}


def text(content: str) -> dict[str, Any]:
    """A chunk with more text."""
    return delta(content=content)


def finish(reason: str = "stop") -> dict[str, Any]:
    """The chunk that says why the answer ended."""
    return {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def tool(
    arguments: Any, *, index: int | None = None, id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """A piece of a tool call as it stands in ``delta.tool_calls``; what is None is left out."""
    function = {
        key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None
    }
    fields = {"index": index, "id": id, "function": function}
    return {key: value for key, value in fields.items() if value is not None}


DONE = b"data: [DONE]\n\n"


def stream(*events: Any, done: bool = True) -> Answer:
    """Answer 200 with these events in a body that ends with the connection."""

    def answer(exchange: Exchange) -> None:
        exchange.close()
        exchange.head(content_type="text/event-stream", connection="close")
        exchange.send(sse(*events) + (DONE if done else b""))

    return answer


def plain(status: int, body: Any, content_type: str = "application/json", **headers: str) -> Answer:
    """Answer with one body: JSON for objects, as it is for text."""

    def answer(exchange: Exchange) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        exchange.head(status, content_type=content_type, content_length=str(len(data)), **headers)
        exchange.send(data)

    return answer


def in_turn(answers: Iterable[Answer]) -> Answer:
    """The first answer for the first request, and so on."""
    left = iter(answers)
    return lambda exchange: next(left)(exchange)
