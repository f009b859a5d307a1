"""Processes of a measurement: started to die with it, and what they use, by kind."""

import os
import resource
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
KINDS: Final = ("web", "worker", "postgres", "redis", "rest")
_MARKS: Final = (
    (b"daphne", "web"),
    (b"kheish_site.worker", "worker"),
    (b"bench._celery", "worker"),
    (b"postgres", "postgres"),
    (b"valkey", "redis"),
)
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


def wait_for_port(port: int) -> None:
    """Return once somebody listens. Raises TimeoutError."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


def allow_files(count: int) -> None:
    """Let this process and those it starts open so many files. Raises ValueError when the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count) if os.getuid() == 0 else hard))


class Usage:
    """What process trees have used since they were first looked at."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = tuple(pids)
        self._began = self._seconds()

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time since then by kind, ended children included."""
        now = self._seconds()
        return {kind: now[kind] - self._began[kind] for kind in KINDS}

    def memory_mib(self) -> dict[str, float]:
        """Return the memory held now by kind; what processes share is divided among them."""
        held = dict.fromkeys(KINDS, 0.0)
        for pid, kind in _kinds(self._pids).items():
            held[kind] += memory_bytes(pid) / 2**20
        return held

    def _seconds(self) -> dict[str, float]:
        used = dict.fromkeys(KINDS, 0.0)
        for pid, kind in _kinds(self._pids).items():
            with suppress(OSError):
                used[kind] += sum(int(part) for part in _stat(pid)[11:15]) / _TICK
        return used


def memory_bytes(pid: int) -> int:
    """Return the proportional memory of a process, or what is resident where that may not be read."""
    with suppress(OSError, StopIteration):
        rolled = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in rolled if line.startswith("Pss:")).split()[1]) * 1024
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def of_kind(kind: str, pids: Sequence[int]) -> list[int]:
    """Return the processes of one kind in the trees below ``pids``."""
    return sorted(pid for pid, found in _kinds(pids).items() if found == kind)


def children() -> set[int]:
    """Return the direct children of this process."""
    return {pid for pid, parent in _parents().items() if parent == os.getpid()}


def _kinds(pids: Sequence[int]) -> dict[int, str]:
    return {pid: _kind(pid) for pid in _tree(pids)}


def _kind(pid: int) -> str:
    with suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        return next((kind for mark, kind in _MARKS if mark in line), "rest")
    return "rest"


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parents() -> dict[int, int]:
    """Return the parent of each process; one that ends meanwhile is left out."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                found[int(folder.name)] = int(_stat(int(folder.name))[1])
    return found


def _tree(pids: Sequence[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found, waiting = set[int](), list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found
