"""The state folder: private, used by one service at a time; and the bytecode all its processes share."""

import compileall
import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

from kheish_site.supervisor.options import Refused

CODE = Path(__file__).resolve().parent.parent.parent
"""The folder that holds ``manage.py``."""


class State:
    """One locked state folder. The lock lasts as long as the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draining = folder / "draining"
        self.worker_ready = folder / "worker.ready"
        self._lock = -1

    def take(self) -> None:
        """Make the folder, close it to other users and lock it. Raises Refused."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_IMODE(self.folder.stat().st_mode) & 0o077:
                self.folder.chmod(0o700)
            self._lock = os.open(self.folder / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(self._who_holds_it()) from None
        except OSError as error:
            raise Refused(f"cannot use the state folder {self.folder}: {error.strerror}") from None
        self.forget_marks()

    def announce(self, url: str) -> None:
        """Write who serves here, for a second start and for the command line."""
        line = json.dumps({"pid": os.getpid(), "url": url}) + "\n"
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, line.encode(), 0)

    def forget_marks(self) -> None:
        """Remove what the last service left behind."""
        self.draining.unlink(missing_ok=True)
        self.worker_ready.unlink(missing_ok=True)

    def release(self) -> None:
        """Leave the folder to the next service."""
        self.forget_marks()
        os.ftruncate(self._lock, 0)
        os.close(self._lock)

    def _who_holds_it(self) -> str:
        try:
            holder: dict[str, Any] = json.loads((self.folder / "serve.lock").read_text())
            who = f"process {holder['pid']} at {holder['url']}"
        except (OSError, ValueError, KeyError):
            who = "another process that is just starting"
        return (
            f"The state folder {self.folder} is in use by {who}.\n"
            "Stop that service first, or give this one its own: --state-dir DIR --bind HOST:PORT"
        )


def compile_code() -> None:
    """Write missing bytecode once, so that every process of the service starts half a second sooner.

    Python does so by itself unless ``PYTHONDONTWRITEBYTECODE`` is set, as it often is in images. A folder
    that cannot be written to stays as it is.
    """
    for package in sorted(CODE.glob("*/__init__.py")):
        if package.parent.name != "tests":
            compileall.compile_dir(package.parent, quiet=2)
