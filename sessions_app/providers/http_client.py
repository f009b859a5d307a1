"""The process's one HTTP client for model calls: shared by all threads, and interruptible.

It is an ordinary ``httpx.Client`` on a transport of its own, because a blocked read can only be
interrupted by whoever knows its socket (see ``watch``).
"""

import contextlib
import itertools
import os
import ssl
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from http.cookiejar import CookieJar
from typing import Any

import httpcore
import httpx

from sessions_app.providers import bounded, watch

SHARDS = 16
# For each shard. The httpx default of 100 would make one model call queue behind others that only wait.
MAX_CONNECTIONS = 1000
MAX_IDLE_CONNECTIONS = 20
IDLE_SECONDS = 30.0
# After "[DONE]" only the end of the body is missing, and it is mostly here already. Waiting a moment for
# it lets the connection be used again, which saves the next call a TCP and TLS handshake.
DRAIN_SECONDS = 0.05

_CORE_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


class _WatchedStream(httpcore.NetworkStream):
    """A connection whose reads and writes can be woken by the watch of the calling thread."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = watch.current()
        if call is None:
            return self._inner.read(max_bytes, timeout)
        with call.blocking(self.get_extra_info("socket")):
            return self._inner.read(max_bytes, call.read_limit_seconds or timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = watch.current()
        if call is None:
            return self._inner.write(buffer, timeout)
        with call.blocking(self.get_extra_info("socket")):
            return self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _WatchedStream(self._inner.start_tls(*args, **kwargs))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _WatchedBackend(httpcore.NetworkBackend):
    """Plain blocking sockets, watched. Connecting itself is bounded by the connect timeout alone."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _WatchedStream(self._inner.connect_tcp(*args, **kwargs))


class _Body(httpx.SyncByteStream):
    """A response body that reads to its end when closed right after ``[DONE]``."""

    def __init__(self, response: httpcore.Response, *, packed: bool) -> None:
        self._response = response
        self._packed = packed
        self._chunks: Iterator[bytes] = iter(())
        self._tail = b""

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._response.stream, Iterable)
        self._chunks = iter(self._response.stream)
        with _as_httpx_errors():
            for chunk in self._chunks:
                self._tail = (self._tail + chunk)[-64:]
                if self._packed:
                    yield from bounded.packed_pieces(chunk)
                else:
                    yield chunk

    def close(self) -> None:
        call = watch.current()
        try:
            if call is not None and not call.reason and b"[DONE]" in self._tail:
                self._drain(call)
        finally:
            self._response.close()

    def _drain(self, call: watch.Watch) -> None:
        call.read_limit_seconds = DRAIN_SECONDS
        try:
            with contextlib.suppress(*_CORE_ERRORS):
                next(self._chunks, None)
        finally:
            call.read_limit_seconds = None


class _Transport(httpx.BaseTransport):
    """httpx on httpcore, with the watched backend. Proxies come from the environment, as in httpx."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._settings: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": MAX_CONNECTIONS,
            "max_keepalive_connections": MAX_IDLE_CONNECTIONS,
            "keepalive_expiry": IDLE_SECONDS,
            "network_backend": _WatchedBackend(),
        }
        self._direct = httpcore.ConnectionPool(**self._settings)
        self._proxies = {
            scheme: self._proxy(httpx.Proxy(url))
            for scheme, url in urllib.request.getproxies().items()
            if scheme in ("http", "https") and url.startswith(("http://", "https://"))
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, Iterable)
        core = httpcore.Request(
            method=request.method,
            url=_core_url(request.url),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx_errors():
            response = self._pool_for(request.url).handle_request(core)
        headers = httpx.Headers(response.headers)
        return bounded.Response(
            response.status,
            headers=headers,
            stream=_Body(response, packed="content-encoding" in headers),
            extensions=response.extensions,
        )

    def close(self) -> None:
        for pool in (self._direct, *self._proxies.values()):
            pool.close()

    def _proxy(self, proxy: httpx.Proxy) -> httpcore.ConnectionPool:
        return httpcore.HTTPProxy(_core_url(proxy.url), proxy_auth=proxy.raw_auth, **self._settings)

    def _pool_for(self, url: httpx.URL) -> httpcore.ConnectionPool:
        direct = url.host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(url.host)
        return self._direct if direct else self._proxies.get(url.scheme, self._direct)


class _Turn(threading.local):
    """A number for each thread, given in turn."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self.number = next(self._numbers)


class _ShardedTransport(httpx.BaseTransport):
    """Threads take turns among several transports.

    A pool walks over all its connections for every call that begins or ends, under one lock: with 400 calls
    at once that doubled the processor time of a call.
    """

    def __init__(self) -> None:
        context = httpx.create_ssl_context()
        self._shards = tuple(_Transport(context) for _ in range(SHARDS))
        self._turn = _Turn()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._shards[self._turn.number % SHARDS].handle_request(request)

    def close(self) -> None:
        for shard in self._shards:
            shard.close()


class _NoCookies(CookieJar):
    """Keeps none: what a server says to one run's call is no business of the next run's."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@contextlib.contextmanager
def _as_httpx_errors() -> Iterator[None]:
    """Raise httpx's exception of the same name, which is what callers of an httpx client expect."""
    try:
        yield
    except _CORE_ERRORS as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error)) from error


_lock = threading.Lock()
_client: httpx.Client | None = None


def shared() -> httpx.Client:
    """The client, made on first use. Redirects are not followed: they would carry the key elsewhere."""
    global _client
    with _lock:
        if _client is None:
            _client = httpx.Client(
                transport=_ShardedTransport(), cookies=_NoCookies(), follow_redirects=False, trust_env=False
            )
        return _client


def close() -> None:
    """Close the idle connections; the next call starts a new client."""
    global _client
    with _lock:
        client, _client = _client, None
    if client is not None:
        client.close()


def _start_afresh() -> None:
    global _lock, _client
    _lock, _client = threading.Lock(), None  # a child must not write into its parent's connections


os.register_at_fork(after_in_child=_start_afresh)
