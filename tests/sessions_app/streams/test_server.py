"""The real server process: stopped while streams are open, started again, nothing lost.

``tests/acceptance/test_streams.py`` kills it without warning, on either database.
"""

import base64
import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from django.db import connection

from kheish_site.testing.ports import free_port
from sessions_app.models import Session
from tests.sessions_app.streams.helpers import append, make_session, make_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.embedded_only]

SERVER = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "kheish_site.settings"
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
from daphne.cli import CommandLineInterface
CommandLineInterface().run(["-v", "0", "-b", "127.0.0.1", "-p", sys.argv[2], "kheish_site.asgi:application"])
"""


STOP_SECONDS = 60


class Server:
    """Daphne on the database of the test."""

    def __init__(self, port: int) -> None:
        self.port = port
        command = [sys.executable, "-c", SERVER, str(connection.settings_dict["NAME"]), str(port)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ, text=True)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def stop(self) -> str:
        """Ask it to stop; return what it wrote to stderr. No stream ends by itself within this time."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=STOP_SECONDS)
        assert self.process.returncode == 0
        return errors


@contextmanager
def serving(port: int) -> Iterator[Server]:
    server = Server(port)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


class Reader:
    """One client of a session's stream."""

    def __init__(self, port: int, session: Session, auth: str, last: int) -> None:
        self._client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Authorization": auth, "Last-Event-ID": str(last)}
        self._client.request("GET", f"/v1/sessions/{session.session_id}/stream", headers=headers)
        self._response = self._client.getresponse()

    def ids(self, count: int) -> list[int]:
        """Return the ids of the next ``count`` events."""
        found, last = list[int](), 0
        while len(found) < count:
            line = self._response.readline()
            assert line, "the stream ended"
            if line.startswith(b"id: "):
                last = int(line[4:])
            elif line.startswith(b"event: "):
                found.append(last)
        return found

    def rest(self) -> bytes:
        """Return what comes up to the end; IncompleteRead unless the server ended it properly."""
        return self._response.read()

    def close(self) -> None:
        self._response.close()
        self._client.close()


def open_socket(port: int, auth: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET /ws/v1 HTTP/1.1",
        f"Host: localhost:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: kheish.v1+json",
        f"Authorization: {auth}",
    ]
    client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(1)
    assert b" 101 " in answer.splitlines()[0]
    return client


def close_code(client: socket.socket) -> int:
    """Read one short frame, which must be a close frame."""
    opcode, length = client.recv(1)[0] & 15, client.recv(1)[0]
    body = client.recv(length)
    assert opcode == 8
    return int(struct.unpack(">H", body[:2])[0])


def test_a_stop_ends_streams_cleanly_and_they_resume_at_the_next_start() -> None:
    session, auth, port = make_session(), make_token(), free_port()
    for _ in range(5):
        append(session)
    with ExitStack() as stack:
        server = stack.enter_context(serving(port))
        readers = [stack.enter_context(closing(Reader(port, session, auth, 0))) for _ in range(20)]
        client = stack.enter_context(closing(open_socket(port, auth)))
        assert [reader.ids(5) for reader in readers] == [[1, 2, 3, 4, 5]] * 20
        threads = len(os.listdir(f"/proc/{server.process.pid}/task"))
        errors = server.stop()
        for reader in readers:
            reader.rest()
        assert close_code(client) == 4408
    assert "error" not in errors.lower()
    assert threads < 20, "streams must not keep a thread each"
    append(session)
    with serving(port), closing(Reader(port, session, auth, 5)) as reader:
        assert reader.ids(1) == [6]
