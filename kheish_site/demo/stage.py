"""Where the story is played: a service of our own that may be killed, or somebody else's that may not."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from kheish_site.cli.client import Client, path
from kheish_site.cli.exits import CliError
from kheish_site.demo import scenery
from kheish_site.supervisor.children import die_with_parent
from kheish_site.supervisor.readiness import is_ready

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 120.0
STOP_SECONDS = 20.0


class Stage(Protocol):
    """A service to play on."""

    client: Client
    may_be_killed: bool

    def new_session(self) -> str:
        """Make the incident's session, its workspace filled; returns its id."""

    def kill(self) -> None:
        """SIGKILL the whole service."""

    def restart(self) -> float:
        """Start it again; returns the seconds until it answered."""


class OwnService:
    """A service in a temporary folder, which goes when the story is over; ``settings`` are variables."""

    may_be_killed = True

    def __init__(self, **settings: str) -> None:
        self._settings = settings

    def __enter__(self) -> "OwnService":
        self._folder = tempfile.TemporaryDirectory(prefix="kheish-demo-")
        self._state = Path(self._folder.name) / "state"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            url = self._start("127.0.0.1:0")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._address = url.removeprefix("http://")
        self.token = (self._state / "operator.token").read_text().strip()
        self.client = Client(url, self.token)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    @property
    def password(self) -> str:
        """The password of the login ``admin``, which the first start printed."""
        said = (Path(self._folder.name) / "service.log").read_text(errors="replace")
        return said.partition("admin / ")[2].split()[0]

    def new_session(self) -> str:
        """Make the session and put the files into its folder, which is ours."""
        view = self.client.sessions("incident-4821").create()
        scenery.put_into(Path(view["workspace"]))
        return str(view["session_id"])

    @property
    def state_dir(self) -> Path:
        """The service's state folder."""
        return self._state

    @property
    def pid(self) -> int:
        """The supervisor's process id; web and worker are its children."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL the supervisor; web and worker die with it."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> float:
        """Start the service again on the same folder and address."""
        began = time.monotonic()
        self._start(self._address)
        return time.monotonic() - began

    def _start(self, address: str) -> str:
        command = [sys.executable, str(ROOT / "manage.py"), "serve", "--bind", address]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KHEISH_")}
        with (Path(self._folder.name) / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--state-dir", str(self._state)],
                cwd=ROOT,
                env=kept | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops the service
                preexec_fn=die_with_parent,
            )
        return self._wait_until_ready()

    def _wait_until_ready(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            url = self._announced()
            if url and (self._state / "operator.token").exists() and is_ready(url):
                return url
            time.sleep(0.05)
        said = (Path(self._folder.name) / "service.log").read_text(errors="replace")
        raise CliError(f"the demo's service did not start:\n{said[-2000:]}")

    def _announced(self) -> str:
        """Return the address in the lock file, once the process that wrote it is ours."""
        try:
            told: dict[str, Any] = json.loads((self._state / "serve.lock").read_text())
        except (OSError, ValueError):
            return ""
        return str(told["url"]) if self._process is not None and told["pid"] == self._process.pid else ""


class Guest:
    """Somebody's running service: nothing is killed, and files go the way any agent's files go."""

    may_be_killed = False

    def __init__(self, client: Client) -> None:
        self.client = client

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *ended: object) -> None:
        return None

    def new_session(self) -> str:
        """Make a session whose first run, a scripted command that needs no approval, writes the files.

        After it the session asks for approvals again.
        """
        session_id = f"incident-4821-{secrets.token_hex(3)}"
        view = self.client.sessions(session_id).create(permission_mode="bypassPermissions")
        script = {"turns": [{"tool_calls": [_write()]}, {"text": "The scene is set."}]}
        route_id = f"scenery-{session_id}"
        body = {"route_id": route_id, "driver": "scripted", "model": "scenery", "options": {"script": script}}
        self.client.request("POST", path("routes"), body)
        try:
            run = self.client.sessions(session_id).input("Set the scene.", route_id=route_id)
            ended = run.wait(timeout_seconds=60)
        finally:
            self.client.change(path("routes", route_id), None, method="DELETE")
        if ended["status"] != "completed":
            raise CliError(f"the scene could not be set: {ended.get('error')}")
        self.client.change(
            path("sessions", session_id, "permission-mode"),
            {"permission_mode": "default"},
            resource=path("sessions", session_id),
        )
        return str(view["session_id"])

    def kill(self) -> None:
        """Never."""
        raise AssertionError("this service belongs to somebody")

    def restart(self) -> float:
        """Never."""
        raise AssertionError("this service belongs to somebody")


def _write() -> dict[str, Any]:
    arguments = {"command": scenery.as_command(), "description": "Write the files of the incident"}
    return {"name": "bash", "arguments": arguments}
