"""A real service for tests: `manage.py serve` on a free port, started, killed and started again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 60.0


class Service:
    """One state folder and, between `start` and `stop` or `kill`, the service on it.

    In the services profile of the suite the service uses the suite's PostgreSQL (a database of its own,
    see the `service_environment` fixture) and Redis.
    """

    def __init__(self, state_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.environment = dict(environment or {})
        self.url = ""
        self.output = state_dir.with_name(f"{state_dir.name}.out")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self._process is not None
        return self._process.pid

    @property
    def token(self) -> str:
        """The local operator token."""
        return (self.state_dir / "operator.token").read_text().strip()

    @property
    def login(self) -> tuple[str, str]:
        """The login that the first start made; read from what it printed."""
        found = re.search(r"Login +(\S+) / (\S+)", self.words())
        assert found, self.words()
        return found[1], found[2]

    def words(self) -> str:
        """Everything the service printed, over all its starts."""
        return self.output.read_text()

    def start(self, *, bind: str = "") -> float:
        """Start and wait until it is ready; returns the seconds that took. The port stays the same."""
        bind = bind or (self.url.removeprefix("http://") if self.url else "127.0.0.1:0")
        command = [sys.executable, "manage.py", "serve", "--bind", bind, "--state-dir", str(self.state_dir)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KHEISH_")}
        before = self.words().count("Kheish is ready") if self.output.exists() else 0
        began = time.monotonic()
        with self.output.open("ab") as stream:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=kept | self.environment, stdout=stream, stderr=subprocess.STDOUT
            )
        while self.words().count("Kheish is ready") == before:
            assert self._process.poll() is None, self.words()
            assert time.monotonic() - began < START_SECONDS, self.words()
            time.sleep(0.02)
        self.url = json.loads((self.state_dir / "serve.lock").read_text())["url"]
        return time.monotonic() - began

    def children(self) -> dict[str, int]:
        """Process ids by part: `web`, `worker`."""
        told = subprocess.run(
            ["ps", "--ppid", str(self.pid), "-o", "pid=,args="], capture_output=True, text=True
        )
        parts = {"celery": "worker", "daphne": "web"}
        found = {}
        for line in told.stdout.splitlines():
            pid, arguments = line.split(maxsplit=1)
            found |= {part: int(pid) for word, part in parts.items() if f"-m {word}" in arguments}
        return found

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request with the operator token; returns status and JSON body (text when it is no JSON)."""
        told = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=told, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as refusal:
            return refusal.code, _decoded(refusal.read())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and wait; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=40)

    def kill(self) -> None:
        """SIGKILL the supervisor; its children die with it."""
        assert self._process is not None
        left = list(self.children().values())
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + 5
        while any(_alive(pid) for pid in left):
            assert time.monotonic() < deadline, "a child outlived its service"
            time.sleep(0.01)

    def end(self) -> None:
        """Whatever happened in the test, leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def running(state_dir: Path, environment: Mapping[str, str] | None = None) -> Iterator[Service]:
    """A started service that ends with the block."""
    service = Service(state_dir, environment)
    try:
        service.start()
        yield service
    finally:
        service.end()


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode()


def _alive(pid: int) -> bool:
    """False for a zombie too: its parent is gone and nothing of it acts any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
