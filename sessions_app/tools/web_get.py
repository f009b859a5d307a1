"""How web_fetch asks one address, and what it makes of the answer."""

import ssl
from functools import cache
from typing import Final

import httpcore
import httpx

from sessions_app.tools.addresses import Patience
from sessions_app.tools.base import MIB, ToolFailure, ToolResult
from sessions_app.tools.pinned import PinnedBackend
from sessions_app.tools.web_text import is_text, parse_content_type, read_limited, to_text

MAX_REDIRECTS: Final = 5
MAX_BODY_BYTES: Final = MIB
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FAILURES: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


def fetch(text: str, patience: Patience, *, allow_private: bool) -> ToolResult:
    """Return the document at an address, after redirects; an HTTP error status is an error result.

    Raises: ToolFailure.
    """
    url = parse_url(text)
    for _ in range(MAX_REDIRECTS + 1):
        answer = _get(url, patience, allow_private=allow_private)
        if isinstance(answer, ToolResult):
            return answer
        url = answer
    raise ToolFailure("too_many_redirects", f"more than {MAX_REDIRECTS} redirects")


def parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """Return an http or https address. Raises ToolFailure(url_refused)."""
    try:
        url = base.join(text) if base else httpx.URL(text)
        host = url.host  # reads a name like xn--…, which may be none
    except (httpx.InvalidURL, ValueError) as error:
        raise ToolFailure("url_refused", "not an address") from error
    if url.scheme not in ("http", "https") or not host:
        raise ToolFailure("url_refused", "must be http or https, with a host")
    if url.port is not None and not 0 < url.port < 65536:
        raise ToolFailure("url_refused", "no such port")
    if url.userinfo:
        raise ToolFailure("url_refused", "an address must not hold credentials")
    return url


def _get(url: httpx.URL, patience: Patience, *, allow_private: bool) -> ToolResult | httpx.URL:
    """Ask once; return the document, or where the answer points to."""
    backend = PinnedBackend(patience, allow_private=allow_private)
    target = httpcore.URL(scheme=url.scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    headers = [
        (b"Host", url.netloc),
        (b"User-Agent", b"kheish"),
        (b"Accept", b"text/*, application/json, application/xml;q=0.9, */*;q=0.1"),
        (b"Accept-Encoding", b"gzip, deflate"),
        (b"Connection", b"close"),
    ]
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as pool,
            pool.stream("GET", target, headers=headers) as response,
        ):
            return _answer(url, response)
    except _FAILURES as error:
        raise ToolFailure("fetch_failed", f"{url.host}: {error or type(error).__name__}") from error


@cache
def _tls() -> ssl.SSLContext:
    """Return the context that verifies certificates; reading the authorities takes a while."""
    return httpx.create_ssl_context()


def _answer(url: httpx.URL, response: httpcore.Response) -> ToolResult | httpx.URL:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status in _REDIRECTS and "location" in headers:
        return parse_url(headers["location"], base=url)
    media_type, charset = parse_content_type(headers.get("content-type", "text/plain"))
    if not is_text(media_type):
        raise ToolFailure("not_text", f"the answer is {media_type[:100]}, not text", status=response.status)
    encoding = headers.get("content-encoding", "").strip().lower()
    body, truncated = read_limited(response.iter_stream(), encoding, MAX_BODY_BYTES)
    if b"\x00" in body and charset == "utf-8":
        raise ToolFailure("not_text", "the answer is binary", status=response.status)
    failed = response.status >= 400
    data = {
        "url": str(url),
        "status": response.status,
        "media_type": media_type,
        "size_bytes": len(body),
        "truncated": truncated,
    }
    text = to_text(body, media_type, charset)
    note = f"\n[only the first {MAX_BODY_BYTES} bytes]" if truncated else ""
    return ToolResult(
        content=f"[{response.status} {url}]\n{text}{note}",
        is_error=failed,
        error_code="http_error" if failed else "",
        data=data,
    )
