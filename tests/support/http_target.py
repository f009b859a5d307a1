"""A target of deliveries on loopback: keeps its own list of what arrived, and misbehaves as it is told."""

import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.service_process import until

Behave = Callable[["Arrival"], None]


class Arrival:
    """One request, taken or not."""

    def __init__(self, handler: BaseHTTPRequestHandler, gone: threading.Event) -> None:
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body: dict[str, Any] = json.loads(handler.rfile.read(int(self.headers["content-length"])))
        self.key = self.headers["idempotency-key"]
        self.path = handler.path
        self.gone = gone
        self._handler = handler

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        """Answer in full."""
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.send_header("Content-Length", str(len(body)))
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def reset(self) -> None:
        """End the connection without a word, as a process that dies does."""
        linger = struct.pack("ii", 1, 0)
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._handler.connection.close()
        self._handler.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of what this server does on purpose."""


class HttpTarget:
    """Start it with ``with``. ``accepted`` are the messages it took, in order; one key counts once.

    ``behave`` is called for each request with a number that says how often its key has come before:
    ``take(arrival)`` accepts, whatever else it does.
    """

    def __init__(self, port: int = 0) -> None:
        self.arrivals: list[Arrival] = []
        self.accepted: list[Arrival] = []
        self.behave: Callable[[Arrival, int], None] = lambda arrival, before: self.take(arrival)
        self._gone = threading.Event()
        self._lock = threading.Lock()
        self._port = port
        self._held: socket.socket | None = None

    def __enter__(self) -> "HttpTarget":
        self.up()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.down()
        self._let_go()

    def up(self) -> None:
        """Listen, on the port it had before if it was down."""
        self._gone.clear()
        self._server = _Server(("127.0.0.1", self._port), self._handler(), bind_and_activate=False)
        self._server.server_bind()
        self._let_go()
        self._server.server_activate()
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Be away: connections are refused. The port is kept, or another process might take it."""
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", self._port))

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    @property
    def address(self) -> dict[str, Any]:
        """The address of a target that makes no promises."""
        return {"url": f"http://127.0.0.1:{self._port}/hook", "allow_private_network": True}

    @property
    def handle(self) -> dict[str, Any]:
        """A handle in normal form."""
        return {"plugin": "http", "address": self.address}

    @property
    def keyed(self) -> dict[str, Any]:
        """A handle that promises to recognise repeats."""
        return {"plugin": "http", "address": {**self.address, "idempotent": True}}

    def take(self, arrival: Arrival, *, answer: bool = True) -> None:
        """Accept a message; one whose key was accepted before is recognised."""
        with self._lock:
            if arrival.key not in {taken.key for taken in self.accepted}:
                self.accepted.append(arrival)
        if answer:
            arrival.answer(200)

    def says(self) -> list[str]:
        """The contents it accepted, in order."""
        return [arrival.body["content"] for arrival in self.accepted]

    def wait_for(self, count: int, seconds: float = 20) -> None:
        """Wait until so many messages were accepted."""
        until(lambda: len(self.accepted) >= count, seconds, lambda: f"accepted: {self.says()}")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                arrival = Arrival(self, owner._gone)
                with owner._lock:
                    before = sum(known.key == arrival.key for known in owner.arrivals)
                    owner.arrivals.append(arrival)
                owner.behave(arrival, before)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the test's output clean."""

        return Handler
