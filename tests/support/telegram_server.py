"""A Bot API server on loopback that behaves like Telegram's where it matters, and keeps its own record.

``test_protocol`` drives it with the client of python-telegram-bot, so that it speaks what a real client
expects and not what ours happens to send.
"""

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message as Mail
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote

TOKEN = "4711:AAcanary-bot-token-0123456789abcdefg"
LONGEST_TEXT = 4096
_TEXTS = frozenset({"text", "caption", "callback_query_id", "file_id"})


@dataclass(frozen=True)
class Call:
    """One call as it arrived: its method, decoded parameters, and files by parameter."""

    method: str
    parameters: dict[str, Any]
    files: dict[str, tuple[str, str, bytes]]


@dataclass(frozen=True)
class Fault:
    """What to answer instead of Telegram's own answer. ``after``: the call is carried out first.

    ``status`` 0 closes the connection without a word; ``hang`` says nothing until the server is closed.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    hang: bool = False


def refusal(code: int, description: str, *, status: int = 0, **parameters: Any) -> Fault:
    """Telegram's own form of a no."""
    said: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        said["parameters"] = parameters
    return Fault(status=status or code, body=json.dumps(said).encode())


class Refused(Exception):
    """Telegram says no."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class TelegramServer:
    """Use it with ``with``. ``chats`` are the chats the bot may write to; ``files`` are by path."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.paths: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.chats: set[Any] = {100, -200}
        self.files: dict[str, bytes] = {}
        self.pending: list[dict[str, Any]] = []
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.polling = 0
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._gone = False
        self._polls = 0
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "TelegramServer":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def queue(self, method: str, *faults: Fault) -> None:
        """Let the next calls of ``method`` end like this."""
        self._faults[method].extend(faults)

    def arrive(self, *updates: dict[str, Any]) -> None:
        """Let updates wait for getUpdates."""
        with self._changed:
            self.pending.extend(updates)
            self._changed.notify_all()

    def named(self, method: str) -> list[Call]:
        """The calls of one method so far."""
        return [call for call in self.calls if call.method == method]

    def wait_until(self, happened: Callable[[], Any], seconds: float = 20.0) -> None:
        """Wait for something that a call brings about."""
        with self._changed:
            assert self._changed.wait_for(happened, seconds), [call.method for call in self.calls]

    # What follows runs in the server's threads.

    def answer(self, method: str, call: Call) -> Fault:
        fault = self._faults[method].popleft() if self._faults[method] else None
        if fault is not None and not fault.after:
            self._record(call)
            return fault
        try:
            result = getattr(self, f"do_{method}", self.do_unknown)(call)
        except Refused as refused:
            self._record(call)
            return refusal(refused.code, refused.description)
        self._record(call)
        return fault or Fault(body=json.dumps({"ok": True, "result": result}).encode())

    def wait_gone(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._gone, 60)

    def _record(self, call: Call) -> None:
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()

    def do_unknown(self, call: Call) -> Any:
        raise Refused(404, "Not Found")

    def do_getMe(self, call: Call) -> Any:
        return {"id": 4711, "is_bot": True, "first_name": "Kheish", "username": "kheish_bot"}

    def do_getUpdates(self, call: Call) -> Any:
        given = call.parameters
        with self._changed:
            self._polls += 1
            mine = self._polls
            self.polling += 1
            self._changed.notify_all()  # whoever polled before is told of the conflict
            if (offset := given.get("offset")) is not None:
                self.pending = [update for update in self.pending if update["update_id"] >= offset]
            try:
                self._changed.wait_for(
                    lambda: self.pending or self._gone or self._polls != mine, given.get("timeout", 0)
                )
            finally:
                self.polling -= 1
            if self._polls != mine:
                raise Refused(409, "Conflict: terminated by other getUpdates request")
            return self.pending[: given.get("limit", 100)]

    def do_sendMessage(self, call: Call) -> Any:
        text = call.parameters.get("text", "")
        if not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > LONGEST_TEXT:
            raise Refused(400, "Bad Request: message is too long")
        return self._message(call, text=text.strip())

    def do_sendPhoto(self, call: Call) -> Any:
        name, _, content = call.files["photo"]
        size = {"file_id": f"F-{name}", "file_unique_id": f"U-{name}", "width": 9, "height": 9}
        return self._message(call, photo=[size | {"file_size": len(content)}])

    def do_sendDocument(self, call: Call) -> Any:
        name, media_type, _ = call.files["document"]
        file = {"file_id": f"F-{name}", "file_unique_id": f"U-{name}", "file_name": name}
        return self._message(call, document=file | {"mime_type": media_type})

    def do_sendAudio(self, call: Call) -> Any:
        name, media_type, _ = call.files["audio"]
        file = {"file_id": f"F-{name}", "file_unique_id": f"U-{name}", "duration": 1}
        return self._message(call, audio=file | {"mime_type": media_type})

    def do_getFile(self, call: Call) -> Any:
        file_id = call.parameters["file_id"]
        if file_id not in self.files:
            raise Refused(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        size = len(self.files[file_id])
        return {
            "file_id": file_id,
            "file_unique_id": f"U-{file_id}",
            "file_size": size,
            "file_path": f"documents/{file_id}.bin",
        }

    def do_answerCallbackQuery(self, call: Call) -> Any:
        query_id = call.parameters["callback_query_id"]
        if query_id in self.acknowledged:
            raise Refused(
                400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        self.acknowledged[query_id] = call.parameters
        return True

    def do_editMessageReplyMarkup(self, call: Call) -> Any:
        return True

    def _message(self, call: Call, **more: Any) -> dict[str, Any]:
        chat_id = call.parameters.get("chat_id")
        if chat_id not in self.chats:
            raise Refused(400, "Bad Request: chat not found")
        message: dict[str, Any] = {
            "message_id": 900 + len(self.messages),
            "date": 1_700_000_000,
            "chat": {"id": chat_id, "type": "private" if chat_id > 0 else "supergroup"},
            "from": self.do_getMe(call),
            **more,
        }
        if markup := call.parameters.get("reply_markup"):
            message["reply_markup"] = markup
        self.messages.append(message)
        return message


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


def _handler(owner: TelegramServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            owner.paths.append(self.path)
            token, _, method = unquote(self.path).removeprefix("/bot").partition("/")
            if token != TOKEN:
                self._say(refusal(401, "Unauthorized"))
                return
            self._say(owner.answer(method, _call(method, self.headers, body)))

        def do_GET(self) -> None:
            owner.paths.append(self.path)
            token, _, place = unquote(self.path).removeprefix("/file/bot").partition("/")
            name = place.removeprefix("documents/").removesuffix(".bin")
            if owner._faults["download"]:
                self._say(owner._faults["download"].popleft())
            elif token != TOKEN or name not in owner.files:
                self._say(refusal(404, "Not Found"))
            else:
                self._say(Fault(body=owner.files[name]))

        def _say(self, fault: Fault) -> None:
            if fault.hang:
                owner.wait_gone()
            if fault.hang or not fault.status:
                self.close_connection = True
                return
            self.send_response(fault.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(fault.body)))
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(fault.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read the record."""

    return Handler


def _call(method: str, headers: Any, body: bytes) -> Call:
    kind = headers.get("content-type", "")
    files: dict[str, tuple[str, str, bytes]] = {}
    given: dict[str, Any] = {}
    if kind.startswith("application/json"):
        return Call(method, json.loads(body or b"{}"), files)
    if kind.startswith("application/x-www-form-urlencoded"):
        given = dict(parse_qsl(body.decode(), keep_blank_values=True))
    elif kind.startswith("multipart/form-data"):
        mail: Mail = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        for part in mail.get_payload():
            assert isinstance(part, Mail)
            name = str(part.get_param("name", header="content-disposition"))
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if (file_name := part.get_filename()) is not None:
                files[name] = (file_name, part.get_content_type(), content)
            else:
                given[name] = content.decode()
    # python-telegram-bot names an uploaded file under its parameter as attach://NAME
    for name, value in list(given.items()):
        if isinstance(value, str) and value.startswith("attach://"):
            files[name] = files.pop(value.removeprefix("attach://"))
            del given[name]
    return Call(method, {name: _value(name, value) for name, value in given.items()}, files)


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
