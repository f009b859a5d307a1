"""One HTTP exchange with the service: standard library, no redirects followed, no proxy asked.

Failures fall in two kinds. `Unreachable`: nothing came back, or came back broken. `Problem`: the service
answered and refused. A GET, and a POST that carries an Idempotency-Key, is repeated when the
answer got lost on the way; everything else is tried once.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from kheish_site.cli import interrupts

CONNECT_SECONDS = 10.0
REPEATS = 3
LONGEST_RETRY_AFTER_SECONDS = 10.0
MAX_BODY_BYTES = 64 * 1024 * 1024
PIECE_BYTES = 64 * 1024
PASSING_STATUSES = (429, 502, 503, 504)
NAMED_STATUSES = (404, 405, 501)  # never without a code of its own from Kheish, which redirects nobody either

BROKEN = (OSError, http.client.HTTPException)


class Unreachable(Exception):
    """No answer from the service. `refused` is true when no connection was made at all."""

    def __init__(self, base_url: str, reason: str, *, refused: bool) -> None:
        super().__init__(f"no service at {base_url}: {reason}")
        self.base_url = base_url
        self.reason = reason
        self.refused = refused


class Problem(Exception):
    """The service refused: an RFC 9457 document, or what could be made of another body."""

    def __init__(self, status: int, document: dict[str, Any], headers: Mapping[str, str]) -> None:
        self.status = status
        self.document = document
        self.code = str(document.get("code") or "")
        self.title = str(document.get("title") or http.client.responses.get(status, "refused"))
        self.detail = str(document.get("detail") or self.title)
        self.retry_after_seconds = _seconds(headers.get("retry-after"))
        super().__init__(f"{status} {self.code}: {self.detail}")


class Foreign(Exception):
    """An answer that says nothing this client understands: of another program, or of another version."""


class Answer(dict[str, Any]):
    """A JSON object of the service. A member that must be there and is not raises `Foreign`."""

    def __missing__(self, name: str) -> Any:
        raise Foreign(f"the answer has no {name!r}")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A successful answer. `body` is parsed JSON, text for other media types, None when empty."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "")


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    query: Mapping[str, object] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def repeatable(self) -> bool:
        return self.method == "GET" or "Idempotency-Key" in self.headers

    @property
    def target(self) -> str:
        wanted = {name: _query_value(value) for name, value in self.query.items() if value is not None}
        return f"{self.path}?{urlencode(wanted)}" if wanted else self.path


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """An answer whose body is still to be read."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse
    sock: socket.socket

    def close(self) -> None:
        self.response.close()
        self.connection.close()


class Transport:
    """Sends requests to one base URL. One connection a request: nothing to go stale between commands."""

    def __init__(self, base_url: str, *, token: str = "", timeout_seconds: float = 60.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._address: SplitResult = urlsplit(self.base_url)
        self._token = token
        self._timeout_seconds = timeout_seconds

    def send(self, request: Request) -> Reply:
        """The answer, repeated where that is safe. Raises Unreachable or Problem."""
        for attempt in range(1, REPEATS + 1):
            try:
                return self._once(request)
            except Unreachable as error:
                if error.refused or not request.repeatable or attempt == REPEATS:
                    raise
                interrupts.pause(0.2 * attempt)
            except Problem as error:
                wait = error.retry_after_seconds
                if error.status not in PASSING_STATUSES or wait is None or attempt == REPEATS:
                    raise
                if not request.repeatable or wait > LONGEST_RETRY_AFTER_SECONDS:
                    raise
                interrupts.pause(wait)
        raise AssertionError("the last attempt returns or raises")

    def fetch(self, request: Request) -> bytes:
        """The body of an answer as it came, tried once. Raises Unreachable or Problem."""
        response, raw = self._read(request)
        if response.status >= 300:
            read_answer(response, raw)
        return raw

    def open(self, request: Request, *, timeout_seconds: float) -> Exchange:
        """Send and return the open answer, for streams. Raises Unreachable; status is the caller's."""
        payload = None if request.body is None else json.dumps(request.body).encode()
        connection = self._connect()
        sock = connection.sock  # the connection forgets it when the answer says `Connection: close`
        try:
            sock.settimeout(timeout_seconds)
            target = self._address.path + request.target
            connection.request(request.method, target, body=payload, headers=self._headers(request, payload))
            return Exchange(connection=connection, response=connection.getresponse(), sock=sock)
        except BROKEN as error:
            connection.close()
            raise Unreachable(self.base_url, _reason(error), refused=False) from error

    def download(self, request: Request) -> Iterator[bytes]:
        """Yield the body as it arrives, for what is too large to hold. Raises Unreachable or Problem."""
        exchange = self.open(request, timeout_seconds=self._timeout_seconds)
        try:
            if exchange.response.status >= 300:
                read_answer(exchange.response, exchange.response.read(MAX_BODY_BYTES))
            while piece := exchange.response.read(PIECE_BYTES):
                yield piece
            if exchange.response.length:
                raise Unreachable(self.base_url, "the answer was cut off", refused=False)
        except BROKEN as error:
            raise Unreachable(self.base_url, _reason(error), refused=False) from error
        finally:
            exchange.close()

    def _once(self, request: Request) -> Reply:
        return read_answer(*self._read(request))

    def _read(self, request: Request) -> tuple[http.client.HTTPResponse, bytes]:
        exchange = self.open(request, timeout_seconds=self._timeout_seconds)
        try:
            raw = exchange.response.read(MAX_BODY_BYTES + 1)
        except BROKEN as error:
            raise Unreachable(self.base_url, _reason(error), refused=False) from error
        finally:
            exchange.close()
        if len(raw) > MAX_BODY_BYTES:
            raise Unreachable(self.base_url, "the answer is too large", refused=True)
        return exchange.response, raw

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._address.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._address.hostname or "", self._address.port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
        except BROKEN as error:
            connection.close()
            raise Unreachable(self.base_url, _reason(error), refused=True) from error
        return connection

    def _headers(self, request: Request, payload: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "kheish-cli"} | dict(request.headers)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


def read_answer(response: http.client.HTTPResponse, raw: bytes) -> Reply:
    """A complete body as a Reply; from status 300 on raises Problem, or Foreign where Kheish says more."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = _parse(raw, headers.get("content-type", ""))
    if response.status >= 300:
        document = body if isinstance(body, dict) else {}
        if "code" not in document and (response.status < 400 or response.status in NAMED_STATUSES):
            raise Foreign(f"the answer is only {response.status} {response.reason}".strip())
        raise Problem(response.status, document, headers)
    return Reply(status=response.status, body=body, headers=headers)


def _parse(raw: bytes, content_type: str) -> Any:
    text = raw.decode("utf-8", "replace")
    if "json" not in content_type:
        return text or None
    try:
        return json.loads(text, object_hook=Answer) if text else None
    except ValueError:
        return text


def _query_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None
