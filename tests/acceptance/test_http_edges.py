"""What a stranger can send that a server in front of Django would let through, over a real connection."""

import base64
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.service import Deployment
from tests.support.service_api import Api

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]
FORGED = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"forged": true}'


class Wire:
    """One connection: what is sent on it, and the answers in their order."""

    def __init__(self, service: Deployment) -> None:
        address = urlsplit(service.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=60)
        self._file = self.socket.makefile("rb")
        self._token = service.token

    def send(self, method: str, path: str, *headers: str, token: bool = True) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
        lines += [f"Authorization: Bearer {self._token}"] * token
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], Any]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        data = self._file.read(int(headers.get("content-length", 0))) if body else b""
        return (
            status,
            headers,
            json.loads(data) if "json" in headers.get("content-type", "") and data else data,
        )

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@contextmanager
def wire(service: Deployment) -> Iterator[Wire]:
    opened = Wire(service)
    try:
        yield opened
    finally:
        opened.close()


def test_an_answer_to_head_ends_with_its_headers(shared: Deployment, api: Api) -> None:
    status, asset = _upload(shared, b"x" * 65_536 + FORGED)
    assert status == 201
    for path in (
        f"/v1/assets/{asset['asset_id']}/raw",
        f"/v1/assets/{asset['asset_id']}/text",
        "/v1/openapi.json",
    ):
        with wire(shared) as opened:
            opened.send("HEAD", path)
            assert opened.answer(body=False)[0] == 200
            opened.send("GET", "/v1/status")
            status, _, said = opened.answer()
            assert status == 200 and "version" in said, path


def _upload(service: Deployment, content: bytes) -> tuple[int, Any]:
    with wire(service) as opened:
        opened.send("POST", "/v1/assets", "Content-Type: text/plain", f"Content-Length: {len(content)}")
        opened.socket.sendall(content)
        status, _, said = opened.answer()
        return status, said


@pytest.mark.parametrize("token", [True, False])
def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(shared: Deployment, token: bool) -> None:
    with wire(shared) as opened:
        length = "Content-Length: 9000000000"
        opened.send("POST", "/v1/sessions", "Expect: 100-continue", length, token=token)
        status, headers, problem = opened.answer()
        assert (status, problem["code"]) == (413, "payload_too_large")
        assert headers["connection"] == "close"
        opened.socket.sendall(b"x" * 100_000)  # it is still taken for a moment, and dropped
        with pytest.raises(ConnectionResetError):
            opened.socket.recv(1)


def test_a_body_without_an_end_is_refused_where_it_is_too_long(shared: Deployment) -> None:
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with wire(shared) as opened:
        opened.send("POST", "/v1/assets", "Transfer-Encoding: chunked", "Content-Type: text/plain")
        for _ in range(25):
            opened.socket.sendall(piece)
        status, _, problem = opened.answer()
        assert (status, problem["code"]) == (413, "payload_too_large")
    assert shared.ask("GET", "/v1/status")[0] == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=b&" * 4_000_000),  # took half a minute of everybody
        ("multipart/form-data", b"{}"),  # was an empty 400 of the server's own
    ],
)
def test_a_form_is_nothing_to_the_server(shared: Deployment, kind: str, body: bytes) -> None:
    with wire(shared) as opened:
        opened.socket.settimeout(10)
        opened.send("POST", "/v1/sessions", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
        opened.socket.sendall(body)
        status, _, problem = opened.answer()
    assert (status, problem["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v1/events/stream", "/v1/sessions/demo/stream", "/v1/runs/run_1/stream"]
)
def test_what_can_only_be_read_says_so(shared: Deployment, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "FOO"):
        with wire(shared) as opened:
            opened.send(method, path, "Content-Length: 0")
            status, headers, problem = opened.answer()
            assert (status, problem["code"]) == (405, "method_not_allowed"), method
            assert headers["allow"].startswith("GET")


def test_a_target_may_be_a_whole_address(shared: Deployment) -> None:
    own = shared.url
    with wire(shared) as opened:
        opened.send("GET", f"{own}/v1/sessions?limit=1")
        assert opened.answer()[0] == 200
        opened.send("GET", f"{own}?x=1")
        assert opened.answer(body=False)[1]["location"] == "/admin/"
    with wire(shared) as opened:
        opened.send("GET", "http://elsewhere.example/v1/status")
        assert opened.answer()[0] == 400  # its host counts, not that of the header


ELSEWHERE = "Origin: https://evil.example"
LOOPBACK = "Origin: http://localhost:9999"
OWN = "Origin: http://localhost"
PREFLIGHT = "Access-Control-Request-Method: POST"


@pytest.mark.parametrize("named", [ELSEWHERE, "Origin: null", "Origin: http://localhost.evil.example"])
def test_a_page_of_another_site_is_refused_before_its_token_is_looked_at(
    shared: Deployment, named: str
) -> None:
    for method, path, token, preflight in (
        ("GET", "/v1/status", True, ()),
        ("GET", "/v1/nowhere", False, ()),
        ("POST", "/v1/sessions", True, ("Content-Length: 0",)),
        ("OPTIONS", "/v1/sessions", False, (PREFLIGHT,)),
        ("GET", "/v1/events/stream", True, ()),
    ):
        with wire(shared) as opened:
            opened.send(method, path, named, *preflight, token=token)
            status, headers, problem = opened.answer()
        assert (status, problem["code"], problem["domain"]) == (403, "origin_not_allowed", "cors")
        assert headers["content-type"] == "application/problem+json" and headers["vary"] == "Origin"
        assert not [name for name in headers if name.startswith("access-control")]


def test_a_loopback_page_asks_first_and_reads_the_answer(shared: Deployment) -> None:
    origin = LOOPBACK.partition(": ")[2]
    with wire(shared) as opened:
        opened.send("OPTIONS", "/v1/sessions/demo/runs", LOOPBACK, PREFLIGHT, token=False)
        status, asked, _ = opened.answer(body=False)
        assert status == 204 and asked["access-control-allow-origin"] == origin
        assert asked["access-control-max-age"] == "600"
        allowed = asked["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", "x-kheish-daemon-token", "x-kheish-daemon-url"} < set(
            allowed
        )
        for token, expected in ((True, 200), (False, 401)):
            opened.send("GET", "/v1/status", LOOPBACK, token=token)
            status, headers, _ = opened.answer()
            assert status == expected and headers["access-control-allow-origin"] == origin
            assert "access-control-allow-credentials" not in headers | asked


def test_own_pages_and_programs_notice_nothing(shared: Deployment) -> None:
    with wire(shared) as opened:
        for more in ((OWN,), ()):
            opened.send("GET", "/v1/status", *more)
            status, headers, _ = opened.answer()
            assert status == 200 and "access-control-allow-origin" not in headers
        opened.send("GET", "/healthz", ELSEWHERE, token=False)
        assert opened.answer()[0] == 200


@pytest.mark.parametrize(("named", "status"), [(ELSEWHERE, 403), (LOOPBACK, 101), (OWN, 101)])
def test_sockets_judge_pages_too(shared: Deployment, named: str, status: int) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    offer = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    with wire(shared) as opened:
        opened.send("GET", "/ws/v1", named, *offer, f"Sec-WebSocket-Key: {key}")
        assert opened.answer(body=False)[0] == status
