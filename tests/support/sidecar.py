"""Sidecars for tests: a real server on loopback that answers as it is told, and a program for a child."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TINY = Path(__file__).with_name("tiny_sidecar.py")


class FakeSidecar(ThreadingHTTPServer):
    """Serves a manifest, a health and deliveries; what it was sent is in ``deliveries``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.capabilities: dict[str, Any] = {"attachments_out": True}
        self.instance_id = "fake-1"
        self.answer: tuple[int, Any, dict[str, str]] = (200, {"status": "committed"}, {})
        self.deliveries: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.hang_up = False
        self.manifests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def said(self, path: str) -> dict[str, Any]:
        identity = {"protocol_version": 1, "instance_id": self.instance_id}
        if path == "/health":
            return {**identity, "status": "ready"}
        self.manifests += 1
        return {**identity, "capabilities": self.capabilities}


class _Handler(BaseHTTPRequestHandler):
    server: FakeSidecar

    def do_GET(self) -> None:
        self._send(200, self.server.said(self.path), {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.deliveries.append(json.loads(body))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.hang_up:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(*self.server.answer)

    def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def fake_sidecar() -> Iterator[FakeSidecar]:
    server = FakeSidecar()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
