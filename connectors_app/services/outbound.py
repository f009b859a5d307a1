"""One HTTP request to a target, at an address that was checked, never through a proxy or a redirect.

What matters most about a failure is whether the request had begun to leave: before that the target knows
nothing of it, after that nobody can say. The transport itself reports that moment.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final

import httpcore
import httpx

from connectors_app.services.contracts import Ambiguous, Refused, RetryLater
from kheish_site.lib import clock
from sessions_app.tools.addresses import Patience
from sessions_app.tools.base import ToolFailure
from sessions_app.tools.pinned import PinnedBackend

LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
LARGEST_ANSWER_BYTES: Final = 65_536
_LEAVES: Final = frozenset({"http11.send_request_headers.started", "http2.send_request_headers.started"})
_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    ToolFailure,
    OSError,
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a request. Header names are lower case; ``body`` is cut at the caller's limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_seconds(self) -> float | None:
        """What ``Retry-After`` asks for (seconds or a date), at most an hour; None without it."""
        return retry_after(self.headers.get("retry-after", ""))


def exchange(
    request: httpx.Request,
    *,
    allow_private: bool,
    timeout_seconds: float = 20.0,
    limit_bytes: int = LARGEST_ANSWER_BYTES,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Answer:
    """Send ``request`` once and return the answer, whatever its status. No transaction may be open.

    ``is_cancelled`` ends it within half a second, as a failure like any other.
    Raises: Refused (blocked_external_fetch), RetryLater (it never left), Ambiguous (it had left).
    """
    patience = Patience(deadline=time.monotonic() + timeout_seconds, is_cancelled=is_cancelled)
    left: list[str] = []
    sent = httpcore.Request(
        request.method,
        httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        ),
        headers=[*_headers(request)],
        content=request.read(),
        extensions={"trace": lambda event, info: left.append(event) if event in _LEAVES else None},
    )
    backend = PinnedBackend(patience, allow_private=allow_private)
    try:
        with httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool:
            response = pool.handle_request(sent)
            try:
                body = _limited(response, limit_bytes)
            finally:
                response.close()
    except _FAILURES as error:
        raise _judged(request.url.host, error, left=bool(left)) from error
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return Answer(status=response.status, headers=headers, body=body)


def retry_after(text: str) -> float | None:
    """Read a ``Retry-After`` header: seconds or an HTTP date, at most an hour; None when it says nothing."""
    text = text.strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - clock.now()).total_seconds()
        except (TypeError, ValueError, OverflowError):  # a year beyond all calendars, a zone beyond a day
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if seconds == seconds else None


def _headers(request: httpx.Request) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in request.headers.raw if name.lower() != b"connection"]
    return [*kept, (b"Connection", b"close")]


def _limited(response: httpcore.Response, limit_bytes: int) -> bytes:
    body = b""
    for piece in response.iter_stream():
        body += piece
        if len(body) >= limit_bytes:
            return body[:limit_bytes]
    return body


def _judged(host: str, error: Exception, *, left: bool) -> Exception:
    if isinstance(error, ToolFailure) and error.code == "address_refused":
        return Refused("blocked_external_fetch", error.message)
    timed_out = isinstance(error, httpcore.TimeoutException) or (
        isinstance(error, ToolFailure) and error.code == "timeout"
    )
    error_class = "timeout" if timed_out else "connect"
    if left:
        return Ambiguous(
            error_class, f"{host}: the request had left when the connection failed ({_name(error)})"
        )
    return RetryLater(error_class, f"{host}: not reached ({_name(error)})")


def _name(error: Exception) -> str:
    return error.code if isinstance(error, ToolFailure) else type(error).__name__


@cache
def _tls() -> Any:
    """Return the context that verifies certificates; reading the authorities takes a while."""
    return httpx.create_ssl_context()
