"""Arguments and environment of ``serve``.

The environment is read here as well as in the settings because the parent does not load Django. It reads
only what it acts on itself; the children check the rest and refuse what cannot work.
"""

import argparse
import ipaddress
import math
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class Refused(Exception):
    """The service cannot start; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``serve`` was asked to do."""

    host: str
    port: int
    """0 lets the system choose."""
    state_dir: Path
    drain_seconds: float
    web_processes: int
    worker_processes: int
    database_url: str
    """The URL of PostgreSQL; "" means SQLite in the state folder."""

    @property
    def family(self) -> socket.AddressFamily:
        """IPv6 for a literal IPv6 host, else IPv4."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def loopback(self) -> bool:
        """True when only this machine can connect."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


def read_options(arguments: Sequence[str]) -> Options:
    """Parse the command line; argparse exits with 2 on bad usage. Raises Refused for a bad environment."""
    parser = argparse.ArgumentParser(prog="manage.py serve", description="Start the service on this machine.")
    parser.add_argument(
        "--bind", type=_address, default=("127.0.0.1", 4000), metavar="HOST:PORT", help="127.0.0.1:4000"
    )
    parser.add_argument(
        "--state-dir", type=_folder, default=None, metavar="DIR", help=".kheish, or KHEISH_STATE_DIR"
    )
    read = parser.parse_args(arguments)
    host, port = read.bind
    return Options(
        host=host,
        port=port,
        state_dir=read.state_dir
        or Path(os.environ.get("KHEISH_STATE_DIR") or ".kheish").expanduser().absolute(),
        drain_seconds=_number("KHEISH_DRAIN_SECONDS", 10.0),
        web_processes=int(_number("KHEISH_WEB_PROCESSES", 1)),
        worker_processes=int(_number("KHEISH_WORKER_PROCESSES", 1)),
        database_url=os.environ.get("KHEISH_DATABASE_URL", ""),
    )


def _address(written: str) -> tuple[str, int]:
    """Parse ``HOST:PORT``; the host is ``localhost`` or a literal address, an IPv6 one in brackets."""
    host, colon, port = written.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{written!r} is not HOST:PORT, as in 127.0.0.1:4000")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare != "localhost":
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{bare!r} is not an IP address or localhost") from None
    return bare, int(port)


def _folder(written: str) -> Path:
    if not written.strip():
        raise argparse.ArgumentTypeError("the state folder needs a name")
    return Path(written).expanduser().absolute()


def _number(name: str, default: float) -> float:
    written = os.environ.get(name, "").strip() or str(default)
    with suppress(ValueError):
        if math.isfinite(number := float(written)):
            return number
    raise Refused(f"{name} must be a number, not {written!r}")
