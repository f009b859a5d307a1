"""What the sidecar serves: its manifest, its health, and deliveries; bearer token, JSON, nothing else."""

import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from outgoing import Later, Never, Postman
from poller import Poller
from settings import Settings

PROTOCOL: Final = 1
LARGEST_BODY: Final = 8 * 1024 * 1024


class Sidecar(ThreadingHTTPServer):
    """The server, and what its answers depend on."""

    daemon_threads = True

    def __init__(self, settings: Settings, postman: Postman, poller: Poller, *, instance_id: str) -> None:
        super().__init__((settings.host, settings.port), _Handler)
        self.token = settings.shared_token
        self.postman, self.poller, self.instance_id = postman, poller, instance_id
        self.draining = threading.Event()
        self._busy = 0
        self._idle = threading.Condition()

    def identity(self) -> dict[str, Any]:
        """Return what every document begins with."""
        return {"protocol_version": PROTOCOL, "instance_id": self.instance_id}

    def deliver(self, delivery: Any) -> dict[str, str]:
        """Return the answer to one delivery."""
        with self._idle:
            if self.draining.is_set():
                return {"status": "retryable_error", "detail": "the sidecar is stopping"}
            self._busy += 1
        try:
            if not isinstance(delivery, dict) or delivery.get("protocol_version") != PROTOCOL:
                raise Never(f"this sidecar speaks version {PROTOCOL}")
            return {"status": "committed", "detail": self.postman.deliver(delivery)}
        except Later as reason:
            return {"status": "retryable_error", "detail": str(reason)[:300]}
        except Never as reason:
            return {"status": "terminal_error", "detail": str(reason)[:300]}
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def drain(self, seconds: float) -> None:
        """Take no more deliveries, and wait for those that are on their way."""
        with self._idle:
            self.draining.set()
            self._idle.wait_for(lambda: not self._busy, timeout=seconds)


class _Handler(BaseHTTPRequestHandler):
    server: Sidecar
    timeout = 30
    protocol_version = "HTTP/1.1"
    server_version = "email-sidecar"

    def do_GET(self) -> None:
        """Manifest and health."""
        if not self._is_known():
            return
        if self.path not in ("/manifest", "/health"):
            self._answer(404, {"error": "not found"})
        elif self.server.draining.is_set():
            self._answer(503, {**self.server.identity(), "status": "draining"})
        elif self.path == "/manifest":
            able = {"attachments_in": True, "attachments_out": True, "threads": True, "idempotent": True}
            self._answer(200, {**self.server.identity(), "capabilities": able, "experimental": False})
        else:
            poller = self.server.poller
            said = {"status": poller.status, **({"detail": poller.detail} if poller.detail else {})}
            self._answer(200, {**self.server.identity(), **said})

    def do_POST(self) -> None:
        """Deliveries."""
        if not self._is_known():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/deliver":
            self._answer(503 if self.server.draining.is_set() else 404, {"error": "not found"})
        elif not length.isdigit() or int(length) > LARGEST_BODY:
            self._answer(413, {"status": "terminal_error", "detail": "too large"})
        else:
            try:
                delivery = json.loads(self.rfile.read(int(length)))
            except ValueError:
                self._answer(400, {"status": "terminal_error", "detail": "not JSON"})
                return
            self._answer(200, self.server.deliver(delivery))

    def _is_known(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode() if scheme.lower() == "bearer" else b""
        if self.server.token and not hmac.compare_digest(given, self.server.token.encode()):
            self._answer(401, {"error": "unauthorized"})
            return False
        return True

    def _answer(self, status: int, said: dict[str, Any]) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: requests carry no news."""
