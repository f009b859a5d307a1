"""What the server in front of us leaves open: endless bodies, forms, bodies in answers to HEAD, whole URLs as
request targets, and requests from pages of other sites.

Seen with daphne 4.2 on Twisted 26: a request reaches the application only when its whole body has arrived,
however large; a form is parsed before that, needlessly, while all other requests wait; of an answer to HEAD
only the first chunk is held back, so the others look like the answer to the connection's next request; and
the target of ``GET http://host/path`` is taken for a path.
"""

import json
import logging
import sys
from enum import Enum, auto
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from kheish_site.lib import origins
from kheish_site.lib.addresses import API
from kheish_site.lib.errors import Forbidden, KheishError, PayloadTooLarge, problem
from kheish_site.lib.http import PROBLEM_TYPE, Asgi

logger = logging.getLogger(__name__)
LINGER_SECONDS: Final = 2.0
"""How long a refused body is still read and dropped: a client that is cut off does not read the answer."""

_READABLE: Final = [
    (b"vary", b"Origin"),
    (
        b"access-control-expose-headers",
        b"Content-Disposition, ETag, Idempotent-Replayed, Location, Preference-Applied, Retry-After, "
        b"X-Request-ID",
    ),
]
_PREFLIGHT: Final = [
    (b"vary", b"Origin"),
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, idempotency-key, if-match, last-event-id, prefer, x-request-id, "
        b"x-kheish-daemon-token, x-kheish-daemon-url, x-file-name, kheish-stream-id, "
        b"kheish-capture-group-id, kheish-captured-at",
    ),
    (b"access-control-max-age", b"600"),
]


def judging_origins(application: Asgi) -> Asgi:
    """Return ``application`` with the API and its sockets closed to pages of other sites.

    Requests from the service's own pages, and those without ``Origin``, pass unchanged. A page of an allowed
    origin may read the answer, but its request loses its cookies: the login is the visitor's, not the page's.
    Every other page is refused before any token is read. No page of another site may send credentials.
    """
    readable = _readable(application)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        is_http = scope["type"] == "http"
        chosen = application
        routed = scope["path"].removeprefix(scope.get("root_path") or "")  # as Django routes it
        if not is_http or routed.startswith(API):
            verdict = _verdict(scope)
            if verdict is _Page.FOREIGN:
                chosen = _refuse if is_http else _refuse_socket
            elif verdict is _Page.ALLOWED and is_http:  # a socket accepts a login from our own pages only
                chosen = readable
        await chosen(scope, receive, send)

    return answer


class _Page(Enum):
    """Whose page sent a request."""

    OURS = auto()
    ALLOWED = auto()
    FOREIGN = auto()


def _verdict(scope: Any) -> _Page:
    given = [value.decode("latin1") for value in _values(scope, b"origin")]
    host = b"".join(_values(scope, b"host")[:1]).decode("latin1")
    if all(origins.is_ours(text, host) for text in given):
        return _Page.OURS  # or no page's: programs send no origin
    if len(given) == 1 and origins.may_ask(given[0]):
        return _Page.ALLOWED
    extra = {"action": "origin.refused", "origin": given[0][:200], "path": scope["path"]}
    logger.info("a page of another site was refused", extra=extra)
    return _Page.FOREIGN


def _readable(application: Asgi) -> Asgi:
    """Return ``application`` for allowed pages: it sees no cookies, and they may read its answers."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        allowed = (b"access-control-allow-origin", _values(scope, b"origin")[0])
        if scope["method"] == "OPTIONS" and _values(scope, b"access-control-request-method"):
            await _answer(send, 204, [allowed, *_PREFLIGHT])
            return

        async def send_readable(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], allowed, *_READABLE]}
            await send(message)

        kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"cookie"]
        await application({**scope, "headers": kept}, receive, send_readable)

    return answer


def _values(scope: Any, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name.lower() == wanted]


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    error = Forbidden(
        "pages of this origin may not use this service", code="origin_not_allowed", domain="cors"
    )
    body = _document(error)
    headers = [
        (b"content-type", PROBLEM_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"Origin"),
    ]
    await _answer(send, error.status, headers, body)


async def _refuse_socket(scope: Any, receive: Any, send: Any) -> None:
    """Close before the handshake, which the client sees as 403."""
    await receive()
    await send({"type": "websocket.close"})


async def _answer(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def without_bodies_for_heads(application: Asgi) -> Asgi:
    """Return ``application`` with nothing after the headers of an answer to HEAD."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_headers(message: Any) -> None:
            if message["type"] != "http.response.body":
                await send(message)
            elif not message.get("more_body"):
                await send({"type": "http.response.body"})

        await application(scope, receive, send_headers if scope.get("method") == "HEAD" else send)

    return answer


def mend_requests() -> None:
    """Change how daphne, if it serves here, reads requests.

    It then refuses too large a body as soon as its size is known, leaves forms unparsed, and understands a
    target in absolute form (RFC 9112, 3.2.2).
    """
    server: Any = sys.modules.get("daphne.http_protocol")
    if server is not None:
        server.WebRequest = _mended(server.WebRequest)


def origin_form(target: bytes) -> tuple[bytes, bytes]:
    """Return the host of ``target`` and its path with the query; the host is empty when it has none."""
    if not target.lower().startswith((b"http://", b"https://")):
        return b"", target
    try:
        whole = urlsplit(target)
    except ValueError:  # brackets that hold no address
        return b"", target
    rest = target.partition(b"://")[2][len(whole.netloc) :]
    return whole.netloc.rpartition(b"@")[2], rest if rest.startswith(b"/") else b"/" + rest


def _mended(base: Any) -> Any:
    class Request(base):
        """A request whose body is counted while it arrives."""

        uri: bytes
        refused = False

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, parsePOSTFormSubmission=False, **named)

        def gotLength(self, length: int | None) -> None:
            too_large = length is not None and length > settings.KHEISH.largest_body_bytes
            super().gotLength(0 if too_large else length)
            if too_large:
                self._refuse()

        def handleContentChunk(self, data: bytes) -> None:
            if self.refused:
                return
            super().handleContentChunk(data)
            if self.content.tell() > settings.KHEISH.largest_body_bytes:
                self._refuse()

        def process(self) -> Any:
            if self.refused:
                return self.channel.loseConnection()
            host, self.uri = origin_form(self.uri)
            if host:
                self.path = self.uri.partition(b"?")[0]
                self.requestHeaders.setRawHeaders(b"host", [host])  # it overrides the header
            return super().process()

        def _refuse(self) -> None:
            self.refused = True
            self.content.truncate(0)
            self.requestHeaders.removeHeader(b"expect")  # so that no "100 Continue" is sent
            transport = self.channel.transport
            transport.write(_refusal())
            self.channel.callLater(LINGER_SECONDS, transport.abortConnection)

    return Request


def _refusal() -> bytes:
    body = _document(PayloadTooLarge("the body is larger than this service reads"))
    lines = (
        "HTTP/1.1 413 Content Too Large",
        f"Content-Type: {PROBLEM_TYPE}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _document(error: KheishError) -> bytes:
    return json.dumps(problem(error)).encode()
