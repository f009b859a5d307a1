"""Ports that servers of tests can have again after a restart."""

import socket
from pathlib import Path

from kheish_site.testing.ports import free_port


def test_who_connects_is_never_given_one() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(given.read_text().split()[0]) if given.exists() else 32_768
    assert all(1024 < free_port() < lowest for _ in range(50))


def test_nobody_listens_there() -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", free_port())) != 0
