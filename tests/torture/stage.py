"""The processes under torture: database, broker, web process and workers, each with any number of lives."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from kheish_site.supervisor.service import ROOT_WARNING
from kheish_site.testing.ports import free_port
from kheish_site.testing.servers import DURABLE, PostgreSQL, private_valkey
from tests.support.service_process import ROOT, clean_environment, spawn
from tests.torture.cutter import Cutter
from tests.torture.record import Record
from tests.torture.schedule import Profile
from tests.torture.zygote import PR_SET_CHILD_SUBREAPER

LEASE_SECONDS = 3.0
CANARY = "canary-key-4711-" + "f00dfeedbeef"
SETTINGS = {
    "KHEISH_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "KHEISH_SWEEP_SECONDS": "0.4",
    "KHEISH_DRAIN_SECONDS": "3",
    "KHEISH_WORKER_THREADS": "12",
    "KHEISH_DELIVERY_THREADS": "8",
    "KHEISH_DELIVERY_INITIAL_RETRY_MS": "60",
    "KHEISH_DELIVERY_MAX_RETRY_MS": "400",
    "KHEISH_DELIVERY_MAX_ATTEMPTS": "1000",
    "KHEISH_DELIVERY_TIMEOUT_SECONDS": "1.5",
    "KHEISH_DELIVERY_CIRCUIT_FAILURE_THRESHOLD": "0",
    "KHEISH_STREAM_MAX_SECONDS": "20",
    "KHEISH_LOG_LEVEL": "WARNING",
    "KHEISH_TESTING": "1",
}
_START_SECONDS = 300.0
_END_SECONDS = 120.0
"""For what takes no time on a quiet machine: only what hangs takes so long on a busy one."""


class NotDead(AssertionError):
    """A process that was killed is not dead, or did not die of it."""


class Parts:
    """What the service stands on. In the embedded profile there is nothing to stop: a file."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        self.services = profile == "services"
        self.tell: Callable[[], object] = lambda: None
        """Called when an answer of the database was lost on its way."""
        self.environment: dict[str, str] = {}
        self.cutter: Cutter | None = None
        if not self.services:
            return
        folder.mkdir(mode=0o711)
        # Servers die with the thread that started them, so one that lives to the end starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")
        self.postgres = PostgreSQL(folder / "pg", DURABLE)
        self.start_postgres()
        self._broker_folder = folder / "valkey"
        self._broker, self.redis_url = self._starter.submit(private_valkey, self._broker_folder).result()
        self._redis_port = int(self.redis_url.rpartition(":")[2].split("/")[0])
        self.cutter = Cutter(self.postgres.port, lambda: self.tell())
        self.environment = {"KHEISH_DATABASE_URL": self.postgres.url, "KHEISH_REDIS_URL": self.redis_url}

    def stop_postgres(self) -> None:
        """Stop at once, without a checkpoint, as a crash of the machine's database does."""
        self._server.send_signal(signal.SIGQUIT)  # PostgreSQL's "immediate"
        self._server.wait(_END_SECONDS)

    def start_postgres(self) -> None:
        """Start it again at its port."""
        self._server = self._starter.submit(self.postgres.start).result()

    def cut_connections(self) -> int:
        """End every second connection of the service from the server's side; returns how many."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND pid % 2 = 0"
            ).fetchone()
        return int(found[0]) if found else 0

    def kill_redis(self) -> None:
        """SIGKILL it; nothing of what it held is left."""
        self._broker.kill()
        status = self._broker.wait()
        if status != -signal.SIGKILL:
            raise NotDead(f"Redis ended with {status}")

    def start_redis(self) -> None:
        """Start it again at its port."""
        again = self._starter.submit(private_valkey, self._broker_folder, port=self._redis_port)
        self._broker, _ = again.result()

    def flush_redis(self) -> None:
        """Forget every doorbell."""
        with Redis.from_url(self.redis_url, socket_timeout=5) as redis, suppress(RedisError):
            redis.flushall()

    def pause_redis(self, seconds: float) -> None:
        """Let it hear and not answer."""
        self._broker.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._broker.send_signal(signal.SIGCONT)

    def double_bells(self, database_url: str) -> int:
        """Ring for every session again, in another order: duplicated and reordered doorbells."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            rows = connection.execute("SELECT id FROM sessions_app_session ORDER BY random()").fetchall()
        numbers = [row[0] for row in rows]
        with Redis.from_url(self.redis_url, socket_timeout=5) as redis, suppress(RedisError):
            for name in redis.keys("kheish:*:calls") or []:
                redis.rpush(name, *numbers)
            for name in redis.pubsub_channels("kheish:*:bells"):
                for number in numbers:
                    redis.publish(name, json.dumps([number, 1]))
        return len(numbers)

    def end(self) -> None:
        """Leave nothing running."""
        if self.services:
            for process in (self._server, self._broker):
                with suppress(OSError):
                    process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
            self._starter.shutdown()


class Ground:
    """What tortures stand on: the parts, and an installation that was prepared once and is copied."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        folder.mkdir(mode=0o711, exist_ok=True)
        self._folder, self.profile, self._copies = folder, profile, 0
        self.parts = Parts(folder / "parts", profile)
        self._state = folder / "prepared"
        self._state.mkdir(mode=0o700)
        environment = {**SETTINGS, **self.parts.environment, "KHEISH_STATE_DIR": str(self._state)}
        environment["DJANGO_SETTINGS_MODULE"] = "kheish_site.settings"
        output = folder / "prepare.log"
        done = spawn([sys.executable, "manage.py", "prepare"], environment=environment, output=output)
        if done.wait(300):
            raise RuntimeError(output.read_text())

    def copy(self, state_dir: Path) -> dict[str, str]:
        """Make a fresh installation in ``state_dir``; returns what its processes have to be told."""
        shutil.copytree(self._state, state_dir)
        if not self.parts.services:
            return {}
        self._copies += 1
        name = f"torture_{self._copies}"
        with psycopg.connect(self._server_url("template1"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE postgres')
        self.parts.flush_redis()
        return self.parts.environment | {"KHEISH_DATABASE_URL": self._server_url(name)}

    def _server_url(self, database: str) -> str:
        return f"{self.parts.postgres.url.rpartition('/')[0]}/{database}"

    def end(self) -> None:
        """Leave nothing running."""
        self.parts.end()


class Stage:
    """Starts processes of the service, and sees how each of them ends."""

    def __init__(self, folder: Path, ground: Ground, record: Record, bug: str = "") -> None:
        if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError("this kernel has no subreapers")
        self.folder, self.profile, self.record = folder, ground.profile, record
        self.state_dir = folder / "state"
        self.output = folder / "service.log"
        self.parts = ground.parts
        self.parts.tell = lambda: record.add("fault", kind="answer_lost")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **SETTINGS, **ground.copy(self.state_dir), "KHEISH_STATE_DIR": str(self.state_dir),
            "KHEISH_SERVICE_URL": self.url, "DJANGO_SETTINGS_MODULE": "kheish_site.settings",
        }  # fmt: skip
        self._orders = threading.Lock()
        self._workers: list[int] = []
        self._names = 0
        self.worker_slots = 3 if self.parts.services else 1
        self._zygote = self._hatch({"KHEISH_TORTURE_BUG": bug} if bug else {})

    @property
    def token(self) -> str:
        """The local operator token."""
        return (self.state_dir / "operator.token").read_text().strip()

    def _hatch(self, more: Mapping[str, str]) -> "subprocess.Popen[str]":
        with self.output.open("ab") as errors:
            zygote = subprocess.Popen(
                [sys.executable, "-W", ROOT_WARNING, "-m", "tests.torture.zygote"], cwd=ROOT,
                env=clean_environment({**self.environment, **more}), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        assert zygote.stdout is not None
        if "ready" not in zygote.stdout.readline():
            raise RuntimeError(f"the service could not be loaded:\n{self.output.read_text()[-3000:]}")
        return zygote

    def start(self, role: str, *, environment: Mapping[str, str] | None = None, **order: Any) -> int:
        """Start a process of the service; returns its process id. It is ours to reap."""
        with self._orders:
            self._names += 1
            full = {
                "role": role, "name": f"w{self._names}", "bind": f"127.0.0.1:{self.port}",
                "output": str(self.output), "environment": dict(environment or {}), **order,
            }  # fmt: skip
            assert self._zygote.stdin is not None and self._zygote.stdout is not None
            self._zygote.stdin.write(json.dumps(full) + "\n")
            self._zygote.stdin.flush()
            pid = int(json.loads(self._zygote.stdout.readline())["pid"])
            if role == "worker":
                self._workers.append(pid)
            return pid

    def workers(self) -> list[int]:
        """Return the process ids of all workers that live."""
        with self._orders:
            self._workers = [pid for pid in self._workers if Path(f"/proc/{pid}").exists()]
            return list(self._workers)

    def is_ready(self) -> bool:
        """Ask ``/readyz``."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False

    def wait_ready(self) -> None:
        """Wait until the service answers."""
        until = time.monotonic() + _START_SECONDS
        while not self.is_ready():
            if time.monotonic() > until:
                raise RuntimeError(f"the service does not answer:\n{self.output.read_text()[-3000:]}")
            time.sleep(0.1)

    def end(self) -> None:
        """Leave nothing running."""
        self._zygote.kill()
        self._zygote.wait()


def ended(pid: int) -> int | None:
    """Return how a child ended (negative: by that signal), or None while it lives. Reaps it."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def wait_end(pid: int, seconds: float, *, meanwhile: Callable[[], object] = lambda: None) -> int | None:
    """Wait for the end of a child, doing ``meanwhile`` at each look; None when it still lives."""
    until = time.monotonic() + seconds
    while (code := ended(pid)) is None and time.monotonic() < until:
        meanwhile()
        time.sleep(0.005)
    return code


def end(pid: int) -> None:
    """See to it that a child is gone, however."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        wait_end(pid, _END_SECONDS)


def kill(pid: int) -> bool:
    """SIGKILL a child and see it dead; False when it had ended by itself just before. Raises: NotDead."""
    os.kill(pid, signal.SIGKILL)
    code = wait_end(pid, _END_SECONDS)
    if code is None:
        raise NotDead(f"process {pid} was killed and lives")
    return code == -signal.SIGKILL
