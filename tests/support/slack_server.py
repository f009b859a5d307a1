"""A local Slack: the part of its Web API that connectors use, with a record of its own.

What it does wrong is said per method, each fault for one call: ``slack.faults["chat.postMessage"]``.
"""

import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "xoxb-4711-canary"
DROP = "drop"
"""Do nothing and hang up."""
DROP_AFTER = "drop-after"
"""Do it and hang up without an answer."""
HANG_AFTER = "hang-after"
"""Do it and say nothing until the server is closed."""
NONSENSE = "nonsense"
"""Do it and answer 200 with a page."""


class SlackServer:
    """Start it with ``with``. ``calls`` are (method, arguments), ``messages`` what people would see."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.messages: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}
        self.files: dict[str, tuple[int, str, bytes]] = {}
        self.file_info: dict[str, dict[str, Any]] = {}
        self.answers: list[dict[str, Any]] = []
        self.answered = threading.Event()
        self.faults: dict[str, list[Any]] = defaultdict(list)
        self.tokens = {TOKEN}
        self.slow = 0.0
        self._numbers = iter(range(1, 10_000))
        self._lock = threading.Lock()
        self._gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "SlackServer":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def api(self) -> str:
        """The ``api_base_url`` of a connector."""
        return f"{self.url}/api"

    def file(self, name: str, body: bytes, *, mimetype: str = "text/plain", status: int = 200) -> dict:
        """Hold a file; return the object Slack would send of it."""
        self.files[f"/files/{name}"] = (status, mimetype, body)
        return {
            "id": f"F{len(self.files)}",
            "name": name,
            "mimetype": mimetype,
            "size": len(body),
            "url_private_download": f"{self.url}/files/{name}",
        }

    def called(self, method: str) -> list[dict[str, Any]]:
        """Return the arguments of every call of a method."""
        return [arguments for name, arguments in self.calls if name == method]

    def moment(self) -> str:
        """A timestamp of now, each another one."""
        return f"{int(time.time())}.{next(self._numbers):06d}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._serve(self, b"")

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                if len(body) < length:  # its sender died in the middle: that is no request
                    self.close_connection = True
                    return
                server._serve(self, body)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.close_connection = True
        path = urlsplit(handler.path).path
        if path.startswith("/api/"):
            self._method(handler, path.removeprefix("/api/"), body)
        elif path.startswith("/files/"):
            self._file(handler, path)
        elif path.startswith("/upload/"):
            self.uploads[path.removeprefix("/upload/")] = body
            _send(handler, 200, b"OK", "text/plain")
        else:
            self.answers.append(json.loads(body))
            _send(handler, 200, b"ok", "text/plain")
            self.answered.set()

    def _file(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        self.calls.append((path, {"authorization": handler.headers.get("authorization", "")}))
        self._gone.wait(self.slow)
        if handler.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            _send(handler, 200, b"<html>sign in</html>", "text/html; charset=utf-8")
            return
        status, mimetype, body = self.files[path]
        more = {"Location": f"{self.url}/files/other"} if status == 302 else {}
        _send(handler, status, body, mimetype, **more)

    def _method(self, handler: BaseHTTPRequestHandler, method: str, body: bytes) -> None:
        as_json = "json" in handler.headers.get("content-type", "")
        arguments = json.loads(body) if as_json else dict(parse_qsl(body.decode()))
        with self._lock:
            self.calls.append((method, arguments))
            fault = self.faults[method].pop(0) if self.faults[method] else None
        if fault == DROP:
            return
        if isinstance(fault, tuple):
            status, answer, headers = fault
            _send(handler, status, json.dumps(answer).encode(), "application/json", **headers)
            return
        if isinstance(fault, str) and fault not in (DROP_AFTER, HANG_AFTER, NONSENSE):
            _answer(handler, {"ok": False, "error": fault})
            return
        if handler.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            _answer(handler, {"ok": False, "error": "invalid_auth"})
            return
        with self._lock:
            answer = self._do(method, arguments)
        if fault == HANG_AFTER:
            self._gone.wait(20)
        if fault == NONSENSE:
            _send(handler, 200, b"<html>a proxy</html>", "text/html")
        if fault is None:
            _answer(handler, answer)

    def _do(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if method == "chat.postMessage":
            return self._post(arguments)
        if method in ("conversations.history", "conversations.replies"):
            return self._read(arguments)
        if method == "files.getUploadURLExternal":
            file_id = f"FUP{next(self._numbers)}"
            return {"ok": True, "upload_url": f"{self.url}/upload/{file_id}", "file_id": file_id}
        if method == "files.completeUploadExternal":
            files = [{"id": entry["id"], "title": entry["title"]} for entry in arguments["files"]]
            self._add(arguments["channel_id"], arguments.get("thread_ts"), text="", files=files)
            return {"ok": True, "files": files}
        if method == "files.info":
            return {"ok": True, "file": self.file_info[arguments["file"]]}
        return {"ok": False, "error": "unknown_method"}

    def _post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        kept = {name: arguments[name] for name in ("text", "blocks", "metadata") if name in arguments}
        message = self._add(arguments["channel"], arguments.get("thread_ts"), **kept)
        return {"ok": True, "channel": arguments["channel"], "ts": message["ts"], "message": message}

    def _add(self, channel: str, thread_ts: str | None, **members: Any) -> dict[str, Any]:
        message = {"type": "message", "channel": channel, "ts": self.moment(), "bot_id": "B1", **members}
        if thread_ts:
            message["thread_ts"] = thread_ts
        self.messages.append(message)
        return message

    def _read(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """One page; the metadata only when it was asked for, as Slack does."""
        found = [
            message
            for message in self.messages
            if message["channel"] == arguments["channel"]
            and message.get("thread_ts") == arguments.get("ts")
            and float(message["ts"]) >= float(arguments.get("oldest") or 0)
        ]
        if arguments.get("include_all_metadata") not in ("true", "1"):
            found = [{name: each[name] for name in each if name != "metadata"} for each in found]
        start, size = int(arguments.get("cursor") or 0), int(arguments.get("limit") or 100)
        after = start + size
        more = str(after) if after < len(found) else ""
        return {
            "ok": True,
            "messages": found[start:after],
            "has_more": bool(more),
            "response_metadata": {"next_cursor": more},
        }


def limited(seconds: int) -> tuple[int, dict[str, Any], dict[str, str]]:
    """A 429 that asks for so many seconds."""
    return 429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)}


def broken(status: int = 500) -> tuple[int, dict[str, Any], dict[str, str]]:
    """A failure of Slack's."""
    return status, {}, {}


def _answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    _send(handler, 200, json.dumps(body).encode(), "application/json; charset=utf-8")


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, **headers: str) -> None:
    try:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
    except ConnectionError:
        handler.close_connection = True
