"""Connections for web_fetch: to the addresses that were checked, within the time of the call."""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from sessions_app.tools.addresses import Patience, resolve

SLICE_SECONDS = 0.5


class PinnedBackend(httpcore.NetworkBackend):
    """Opens connections by name, once resolved: the name stays in TLS and in the Host header.

    Resolving and connecting are one step here, so no second answer of the resolver can slip between
    the check and the use.
    """

    def __init__(self, patience: Patience, *, allow_private: bool) -> None:
        self._patience = patience
        self._allow_private = allow_private
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of ``host`` that answers. Raises ToolFailure, httpcore errors."""
        failure: Exception = httpcore.ConnectError("no address")
        for address in resolve(host, port, self._patience, allow_private=self._allow_private):
            try:
                left = min(self._patience.left_seconds(), timeout or 10.0)
                return _PatientStream(self._sockets.connect_tcp(address, port, left), self._patience)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _PatientStream(httpcore.NetworkStream):
    """A stream whose every wait ends with the time of the call, or its cancelling."""

    def __init__(self, stream: httpcore.NetworkStream, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        while True:
            try:
                return self._stream.read(max_bytes, min(self._patience.left_seconds(), SLICE_SECONDS))
            except httpcore.ReadTimeout:
                continue  # only a slice of the time is over; left_seconds() ends the loop

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._patience.left_seconds())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._patience.left_seconds()
        return _PatientStream(self._stream.start_tls(ssl_context, server_hostname, left), self._patience)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
