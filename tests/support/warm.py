"""Processes of a service that are forked from one in which its libraries are loaded already.

Loading them is two thirds of a start, and a test run starts a hundred. Only libraries are loaded before the
fork, of them only what does not look at settings: our own code, Django's applications and everything that is
configured are loaded by each process itself, as by one that was started by hand.

``python -m tests.support.warm`` is the process that forks. Orders are JSON lines on standard input, answers
lines on standard output: ``arguments`` start a process, whose id is the answer; ``ended`` asks how one ended.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.support import service_process as processes

LIBRARIES: Final = (
    "autobahn.twisted.websocket", "celery.apps.worker", "celery.concurrency.thread", "channels.layers",
    "cryptography.fernet", "cryptography.hazmat.primitives.asymmetric.ed25519",
    "django.contrib.admin.helpers", "django.core.handlers.asgi", "django.core.management",
    "django.db.backends.postgresql.base", "django.db.models", "django.forms", "django.template.loader",
    "django.test.signals", "django_filters", "drf_spectacular.utils", "httpx", "jsonschema",
    "kombu.transport.redis", "openai", "redis.asyncio", "rest_framework.serializers", "slack_sdk",
    "structlog", "twisted.web.http", "ulid", "whitenoise.base", "yaml",
)  # fmt: skip
OURS: Final = ("kheish_site", "sessions_app", "channels_app", "connectors_app")


class Forked:
    """A process that was started by ``start``: what ``subprocess.Popen`` is for one that was executed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """How it ended (negative: by that signal), or None while it lives."""
        if self._code is None:
            self._code = _nest().order({"ended": self.pid})
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises: TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(processes.POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to leave."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def start(arguments: Sequence[str], *, environment: Mapping[str, str], output: Path) -> Forked:
    """Start ``python -m ARGUMENTS`` in the project's folder; what it prints is appended to ``output``."""
    told = {"arguments": list(arguments), "output": str(output)}
    return Forked(_nest().order({**told, "environment": processes.clean_environment(environment)}))


class _Nest:
    """The process that forks, as whoever gives it orders sees it."""

    def __init__(self) -> None:
        from kheish_site.supervisor.service import ROOT_WARNING  # not before the fork: it is ours

        self._process = subprocess.Popen(
            [sys.executable, "-W", ROOT_WARNING, "-m", "tests.support.warm"],
            cwd=processes.ROOT,
            env=processes.clean_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._turn = threading.Lock()

    def order(self, order: Mapping[str, Any]) -> Any:
        """Return the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, "the process that forks is gone"
        return json.loads(answer)

    def close(self) -> None:
        """End it, and with it what it has started."""
        self._process.kill()
        self._process.communicate()  # it closes the pipes too


@cache
def _nest() -> _Nest:
    made = _Nest()
    atexit.register(made.close)
    return made


def main() -> None:
    """Load, then do what is asked until standard input ends. Returns in a forked process too, at its end."""
    for name in LIBRARIES:
        import_module(name)
    early = [name for name in sys.modules if name.partition(".")[0] in OURS]
    assert not early, f"loaded before there are settings: {early}"
    assert "twisted.internet.reactor" not in sys.modules, "a reactor must not be shared"
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of it
    for line in sys.stdin:
        order = json.loads(line)
        if "ended" in order:
            pid, status = os.waitpid(order["ended"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
            continue
        child = os.fork()
        if child == 0:
            return _become(order)
        print(child, flush=True)
    return None


def _become(order: Mapping[str, Any]) -> None:
    from kheish_site.supervisor.children import die_with_parent

    die_with_parent()
    os.environ.clear()
    os.environ.update(order["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    sys.argv = order["arguments"]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
