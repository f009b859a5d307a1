"""Ports for servers of tests and benchmarks."""

import random
import socket
from typing import Final

_QUIET: Final = range(10_000, 32_768)
"""Below those that systems give to whoever connects: while a server is being restarted, nobody else comes to
have its port by chance."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens; it stays free across restarts of its server."""
    while True:
        port = random.SystemRandom().choice(_QUIET)  # tests that seed the others' would all choose the same
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:  # taken
            continue
