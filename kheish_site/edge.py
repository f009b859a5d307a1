"""What the server in front of us leaves open: bodies without end, bodies in answers to HEAD, URLs as targets.

Seen with daphne 4.2 on Twisted 26: a request reaches the application when its whole body has arrived, however
large; of an answer to HEAD only the first chunk is held back, the others follow as if they were an answer
to the next request of that connection; and the whole of ``GET http://host/path`` is taken for a path.
"""

import json
import sys
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from kheish_site.lib.errors import PayloadTooLarge, problem
from kheish_site.lib.http import PROBLEM_TYPE, Asgi

LINGER_SECONDS: Final = 2.0
"""How long a body that was refused is still taken from the wire, and dropped: a client that is cut off while
it sends does not read the answer."""


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
    """Let daphne, if it is what serves here, refuse a body that no address reads as soon as it is known, and
    understand a target in absolute form (RFC 9112, 3.2.2)."""
    server: Any = sys.modules.get("daphne.http_protocol")
    if server is not None:
        server.WebRequest = _mended(server.WebRequest)


def origin_form(target: bytes) -> tuple[bytes, bytes]:
    """Return the host that ``target`` names, and its path with the query; no host where it has only these."""
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
                self.requestHeaders.setRawHeaders(b"host", [host])  # whatever the header said
            return super().process()

        def _refuse(self) -> None:
            self.refused = True
            self.content.truncate(0)
            self.requestHeaders.removeHeader(b"expect")  # nobody shall be told to go on
            transport = self.channel.transport
            transport.write(_refusal())
            self.channel.callLater(LINGER_SECONDS, transport.abortConnection)

    return Request


def _refusal() -> bytes:
    body = json.dumps(problem(PayloadTooLarge("the body is larger than this service reads"))).encode()
    lines = (
        "HTTP/1.1 413 Content Too Large",
        f"Content-Type: {PROBLEM_TYPE}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
