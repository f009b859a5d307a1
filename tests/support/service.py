"""A real service for tests, as processes: started, killed and started again on one state folder.

`Service` is `manage.py serve`; `Fleet` is the same code as separate processes, one web process and two
workers, which needs PostgreSQL and Redis. `make` chooses by the profile of the test run.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kheish_site.supervisor.preparation import fingerprint
from kheish_site.supervisor.service import ROOT_WARNING
from kheish_site.testing.ports import free_port
from tests.support import service_process as processes
from tests.support import warm
from tests.support.service_process import ROOT as ROOT

START_SECONDS = 30.0
STOP_SECONDS = 120.0
"""More than any drain takes: what never ends is found a little later."""
SERVICES = os.environ.get("KHEISH_TEST_PROFILE") == "services"


Process = warm.Forked | subprocess.Popen[bytes]


class Deployment(ABC):
    """One state folder and, between `start` and `stop` or `kill`, the processes on it."""

    def __init__(self, state_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.environment = dict(environment or {})
        self.url = ""
        self.cold = False
        """Its processes load everything by themselves: for tests that look at how long a start takes."""
        self.output = state_dir.with_name(f"{state_dir.name}.out")

    @abstractmethod
    def start(self, **environment: str) -> float:
        """Start and wait until it is ready; returns the seconds that took. The port stays the same."""

    @abstractmethod
    def workers(self) -> list[int]:
        """Process ids of the living workers."""

    @abstractmethod
    def everybody(self) -> list[int]:
        """Process ids of all its processes."""

    @abstractmethod
    def revive(self, **environment: str) -> None:
        """Wait until, or see to it that, as many workers live as at the start."""

    @abstractmethod
    def kill_workers(self) -> None:
        """SIGKILL every worker from outside."""

    @abstractmethod
    def renew(self, **environment: str) -> None:
        """SIGKILL at least the workers, and start them with this added to the environment."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL every process at once."""

    @abstractmethod
    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and wait; returns the worst exit code."""

    @abstractmethod
    def end(self) -> None:
        """Whatever happened in the test, leave nothing running; nobody is asked to leave."""

    @property
    def token(self) -> str:
        """The local operator token."""
        return (self.state_dir / "operator.token").read_text().strip()

    @property
    def login(self) -> tuple[str, str]:
        """The login that the first start made; read from what it printed."""
        found = re.search(r'Login +(\S+) / (\S+)|"username": "(.+?)", "password": "(.+?)"', self.words())
        assert found, self.words()
        return found[1] or found[3], found[2] or found[4]

    def words(self) -> str:
        """Everything the service printed, over all its starts."""
        return self.output.read_text() if self.output.exists() else ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request with the operator token; returns status and JSON body (text when it is no JSON)."""
        told = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=told, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as refusal:
            return refusal.code, _decoded(refusal.read())

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return self.environment | more

    def _ready(self) -> bool:
        """Ask ``/readyz`` without a token: it exists before the token does."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Service(Deployment):
    """`manage.py serve` on a free port. In the services profile it uses PostgreSQL and Redis."""

    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, bind: str = "", **environment: str) -> float:
        bind = bind or (self.url.removeprefix("http://") if self.url else f"127.0.0.1:{free_port()}")
        command = [sys.executable, "manage.py", "serve", "--bind", bind, "--state-dir", str(self.state_dir)]
        if environment:
            self.note_prepared(environment)
        before = self.words().count("Kheish is ready")
        began = time.monotonic()
        self._process = processes.spawn(
            command, environment=self._environment(environment), output=self.output
        )
        processes.until(lambda: self._has_started(before), START_SECONDS, self.words)
        self.url = json.loads((self.state_dir / "serve.lock").read_text())["url"]
        return time.monotonic() - began

    def note_prepared(self, settings: Mapping[str, str]) -> None:
        """Let the next start prepare nothing again because of settings that change nothing it makes."""
        note = self.state_dir / "prepared.json"
        if note.exists():
            with patch.dict(os.environ, processes.clean_environment(self._environment(settings)), clear=True):
                note.write_text(json.dumps(json.loads(note.read_text()) | {"fingerprint": fingerprint()}))

    def _has_started(self, before: int) -> bool:
        assert self._process is not None and self._process.poll() is None, self.words()
        return self.words().count("Kheish is ready") > before

    def children(self) -> dict[str, int]:
        """Process ids by part: `web`, `worker`."""
        parts = {"-m kheish_site.worker": "worker", "-m daphne": "web"}
        found = processes.children_of(self.pid).items()
        return {part: pid for pid, command in found for word, part in parts.items() if word in command}

    def workers(self) -> list[int]:
        return [pid for part, pid in self.children().items() if part == "worker"]

    def everybody(self) -> list[int]:
        return [self.pid, *self.children().values()]

    def revive(self, **environment: str) -> None:
        """The supervisor restarts its worker by itself."""
        processes.until(self.workers, 20, self.words)

    def kill_workers(self) -> None:
        processes.kill(*self.workers())

    def renew(self, **environment: str) -> None:
        """The supervisor's environment is its worker's, so all of it starts again."""
        self.end()
        self.start(**environment)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL the supervisor; its children die with it."""
        assert self._process is not None
        left = list(self.children().values())
        self._process.kill()
        self._process.wait()
        processes.until(
            lambda: not any(processes.alive(pid) for pid in left), 5, lambda: "a child outlived its service"
        )

    def end(self) -> None:
        if self.is_running:
            self.kill()


class Fleet(Deployment):
    """`prepare`, then daphne and two workers, each a process of its own that nobody restarts."""

    WORKERS = 2

    def __init__(self, state_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(state_dir, environment)
        self._web: Process | None = None
        self._crew: list[Process] = []
        self._named = 0

    def start(self, **environment: str) -> float:
        began = time.monotonic()
        self.url = self.url or f"http://127.0.0.1:{free_port()}"
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        more = self._environment(environment)
        if not (self.state_dir / "operator.token").exists():
            self._finished([sys.executable, "manage.py", "prepare"], more)
        host, port = self.url.removeprefix("http://").split(":")
        web = ["daphne", "-v", "0", "-b", host, "-p", port, "kheish_site.asgi:application"]
        self._web = self._run(web, more)
        self._crew = [self._worker(more) for _ in range(self.WORKERS)]
        processes.until(self._is_up, START_SECONDS, self.words)
        return time.monotonic() - began

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        fixed = {"KHEISH_STATE_DIR": str(self.state_dir), "DJANGO_SETTINGS_MODULE": "kheish_site.settings"}
        fixed |= {"KHEISH_WORKER_THREADS": "12", "KHEISH_SERVICE_URL": self.url}
        return fixed | super()._environment(more)

    def _worker(self, environment: Mapping[str, str]) -> Process:
        self._named += 1
        return self._run(["kheish_site.worker", f"w{self._named}"], environment)

    def _run(self, module: list[str], environment: Mapping[str, str]) -> Process:
        if self.cold:
            command = [sys.executable, "-W", ROOT_WARNING, "-m", *module]
            return processes.spawn(command, environment=environment, output=self.output)
        return warm.start(module, environment=environment, output=self.output)

    def _finished(self, command: list[str], environment: Mapping[str, str]) -> None:
        done = processes.spawn(command, environment=environment, output=self.output)
        assert done.wait(timeout=START_SECONDS * processes.SLOWEST) == 0, self.words()

    def _is_up(self) -> bool:
        assert self._web is not None and self._web.poll() is None, self.words()
        assert all(worker.poll() is None for worker in self._crew), self.words()
        if not self._ready():
            return False
        announced = {worker["pid"] for worker in self.ask("GET", "/v1/status")[1]["workers"]}
        return announced.issuperset(self.workers())

    def workers(self) -> list[int]:
        return [worker.pid for worker in self._crew if worker.poll() is None]

    def everybody(self) -> list[int]:
        web = [self._web.pid] if self._web is not None and self._web.poll() is None else []
        return [*web, *self.workers()]

    def revive(self, **environment: str) -> None:
        """Start a worker for each that is gone."""
        self._crew = [worker for worker in self._crew if worker.poll() is None]
        more = self._environment(environment)
        self._crew += [self._worker(more) for _ in range(self.WORKERS - len(self._crew))]
        processes.until(self._is_up, START_SECONDS, self.words)

    def renew(self, **environment: str) -> None:
        if self._web is None:
            self.start(**environment)
            return
        self.kill_workers()
        self.revive(**environment)

    def kill_workers(self) -> None:
        for worker in self._crew:
            worker.kill()
        for worker in self._crew:
            worker.wait()  # a process whose threads are still dying cannot be reaped yet

    def dismiss(self, pid: int) -> int:
        """Ask one worker to leave; returns its exit code."""
        (worker,) = (worker for worker in self._crew if worker.pid == pid)
        worker.terminate()
        return worker.wait(timeout=STOP_SECONDS)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        parts = [*self._crew, *([self._web] if self._web else [])]
        codes = []
        for part in parts:
            if part.poll() is None:
                part.send_signal(number)
        for part in parts:
            codes.append(part.wait(timeout=STOP_SECONDS))
        return max(codes, key=abs, default=0)

    def kill(self) -> None:
        processes.kill(*self.everybody())
        for part in [*self._crew, self._web]:
            if part is not None:
                part.wait()

    def end(self) -> None:
        self.kill()


def make(state_dir: Path, environment: Mapping[str, str] | None = None) -> Deployment:
    """A deployment of the profile under test, not started."""
    return (Fleet if SERVICES else Service)(state_dir, environment)


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
