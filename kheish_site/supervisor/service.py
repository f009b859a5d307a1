"""The service as a whole: prepare, start, watch, drain."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from kheish_site.supervisor import words
from kheish_site.supervisor.children import Child
from kheish_site.supervisor.options import Options, Refused
from kheish_site.supervisor.preparation import Preparation
from kheish_site.supervisor.readiness import is_ready
from kheish_site.supervisor.state import CODE, State, compile_code
from kheish_site.supervisor.wake import Wake

START_SECONDS = 60.0
WEB_STOP_SECONDS = 3.0
ROOT_WARNING = "ignore:You're running the worker with superuser"
"""Celery's warning fills a screen; ``words.AS_ROOT`` says it in a line."""
SLACK_SECONDS = 3.0
"""What a worker gets on top of its drain time to exit by itself."""


class Service:
    """One run of ``serve``. Signal handlers only note a request; the main loop acts on it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._state = State(options.state_dir)
        self._wake = Wake()
        self._asked_to_stop = 0
        self._children: list[Child] = []

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM. Raises Refused when the start fails."""
        os.umask(0o077)  # only our user may read what the service writes
        self._state.take()
        listener = self._listen()
        self._url = f"http://{_shown(self._options.host)}:{listener.getsockname()[1]}"
        self._state.announce(self._url)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # handled, so that it ends a pause
        prepared: dict[str, Any] = {}
        try:
            prepared = self._prepare()
            self._children = self._make_children(listener)
            for child in self._children:
                child.start()
            if self._became_ready():
                self._greet(prepared)
                self._watch()
            return self._drain()
        except Refused:
            words.say(words.login_text(prepared))  # it exists despite the failure, and is never shown again
            raise
        finally:
            for child in self._children:
                child.kill_group()
            listener.close()
            self._state.release()
            self._wake.close()

    def _note_stop(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop += 1

    def _listen(self) -> socket.socket:
        """Open the socket. The parent owns it, so no connection is refused while a web process restarts."""
        host, port = self._options.host, self._options.port
        try:
            listener = socket.create_server(
                ("127.0.0.1" if host == "localhost" else host, port), family=self._options.family, backlog=512
            )
        except OSError as error:
            reason = f"cannot listen on {_shown(host)}:{port}: {error.strerror}"
            raise Refused(f"{reason}\nChoose another address: --bind HOST:PORT") from None
        return listener

    def _prepare(self) -> dict[str, Any]:
        """Migrate, compile and make what a fresh installation needs; skip it all if nothing has changed."""
        preparation = Preparation(self._options.state_dir, self._options.database_url)
        if preparation.holds():
            return {}
        words.say("Preparing the database")
        compile_code()
        command = [sys.executable, str(CODE / "manage.py"), "prepare"]
        quiet = {"KHEISH_LOG_LEVEL": "WARNING", **self._environment()}
        done = subprocess.run(command, env=quiet, stdout=subprocess.PIPE, text=True)
        if self._asked_to_stop:
            raise Refused("Stopped before the service was up.")
        if done.returncode:
            raise Refused("The database could not be prepared; the reason is above.")
        preparation.note()
        prepared: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return prepared

    def _environment(self) -> dict[str, str]:
        """Return the children's environment; with it they find code and state folder from any directory."""
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(CODE), environment.get("PYTHONPATH", "")])
        )
        environment["DJANGO_SETTINGS_MODULE"] = "kheish_site.settings"
        environment["KHEISH_STATE_DIR"] = str(self._options.state_dir)
        environment.setdefault("KHEISH_SERVICE_URL", self._url)
        if not self._options.loopback:
            hosts = [environment.get("KHEISH_ALLOWED_HOSTS", ""), _shown(self._options.host)]
            environment["KHEISH_ALLOWED_HOSTS"] = ",".join(filter(None, hosts))
        return environment

    def _make_children(self, listener: socket.socket) -> list[Child]:
        """Return the workers, and the web processes that share the socket."""
        python, environment, number = sys.executable, self._environment(), listener.fileno()
        web = [python, "-m", "daphne", "-v", "0", "--no-server-name", "--fd", str(number)]
        web += ["kheish_site.asgi:application"]
        worker = [python, "-W", ROOT_WARNING, "-m", "kheish_site.worker"]
        return [
            *(
                Child("worker", [*worker, f"worker{index}"], environment=environment)
                for index in range(self._options.worker_processes)
            ),
            *(
                Child("web", web, environment=environment, keep=(number,))
                for _ in range(self._options.web_processes)
            ),
        ]

    def _became_ready(self) -> bool:
        """Wait for the worker and for /readyz; False when asked to stop. Raises Refused."""
        deadline = time.monotonic() + START_SECONDS
        while not self._asked_to_stop:
            for child in self._children:
                if child.exited() is not None:
                    raise Refused(f"The {child.name} process could not start; the reason is above.")
            if self._state.worker_ready.exists() and is_ready(self._url):
                return True
            if time.monotonic() > deadline:
                raise Refused(f"The service was not ready after {START_SECONDS:.0f} s; see the lines above.")
            self._wake.wait(0.05)
        return False

    def _greet(self, prepared: dict[str, Any]) -> None:
        words.say(words.ready_text(url=self._url, state_dir=self._options.state_dir, prepared=prepared))
        if not self._options.loopback:
            words.say(words.OPEN.format(host=self._options.host))
        if os.getuid() == 0:
            words.say(words.AS_ROOT)

    def _watch(self) -> None:
        """Keep every child running until asked to stop."""
        while not self._asked_to_stop:
            for child in self._children:
                news = child.watch()
                if news:
                    words.say(news)
            self._wake.wait(0.5)

    def _drain(self) -> int:
        """Stop the workers, with a grace period for their steps, then the web. Another Ctrl-C ends it."""
        words.say("Stopping: steps in flight are being finished. Ctrl-C again to stop at once.")
        self._state.draining.touch()
        workers = [child for child in self._children if child.name == "worker"]
        web = [child for child in self._children if child.name == "web"]
        in_time = self._stop(workers, self._options.drain_seconds + SLACK_SECONDS)
        in_time = self._stop(web, WEB_STOP_SECONDS) and in_time
        words.say("Stopped." if in_time else "Stopped; what was still running goes on at the next start.")
        return 0

    def _stop(self, children: list[Child], seconds: float) -> bool:
        for child in children:
            child.signal(signal.SIGTERM)
        gone: Callable[[], bool] = lambda: all(child.exited() is not None for child in children)  # noqa: E731
        deadline = time.monotonic() + seconds
        while not gone() and time.monotonic() < deadline and self._asked_to_stop < 2:
            self._wake.wait(0.05)
        return gone()


def _shown(host: str) -> str:
    """Return the host as a URL writes it; a wildcard is reached through loopback."""
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 (comparing, not binding)
    return f"[{named}]" if ":" in named and not named.startswith("[") else named
