"""Processes of a measurement: started to die with it, and what they use."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kheish_site.supervisor.children import die_with_parent

ROOT: Final = Path(__file__).resolve().parent.parent
_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_START_SECONDS: Final = 60.0


@contextmanager
def running(command: Sequence[str], **environment: str) -> Iterator[int]:
    """Run ``command`` in the project's folder for as long as the block lasts; gives its process id."""
    child = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent
    )
    try:
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def free_port() -> int:
    """Return a port of loopback that nobody has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Return once somebody listens. Raises TimeoutError."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


class Usage:
    """What process trees have used since they were first looked at."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = tuple(pids)
        self._began = self._seconds()

    def processor_seconds(self) -> float:
        """Return the processor time of the trees since then, ended children included."""
        return self._seconds() - self._began

    def resident_mib(self) -> float:
        """Return the memory the trees hold now; shared pages count in each process."""
        pages = 0
        for pid in _tree(self._pids):
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * _PAGE / 2**20

    def _seconds(self) -> float:
        ticks = 0
        for pid in _tree(self._pids):
            with suppress(OSError):
                ticks += sum(int(part) for part in _stat(pid)[11:15])
        return ticks / _TICK


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _tree(pids: Sequence[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    found, waiting = set[int](), list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def children() -> set[int]:
    """Return the direct children of this process."""
    return {pid for pid in _tree([os.getpid()]) - {os.getpid()} if int(_stat(pid)[1]) == os.getpid()}
