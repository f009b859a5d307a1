"""Processes of a service under test: started so that nothing of them outlives the test run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent.parent
RUNTIME_ONLY = Path(__file__).resolve().parent / "runtime_only"
POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.25
SLOWEST = 6
"""How many times slower than a quiet machine a busy one may be before waiting for it is given up."""
_T = TypeVar("_T")

# A test run that is killed takes its services along: the launcher asks the kernel for SIGKILL at its
# parent's death and becomes the command. Not `preexec_fn`, which is unsafe beside threads.
_LAUNCHER = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 9)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without the settings of its own runtime, plus `extra`.

    It finds no package that only tests need. A service that is told to die somewhere is told that it is
    under test.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KHEISH_", "DJANGO_"))}
    testing = {"KHEISH_TESTING": "1"} if extra.get("KHEISH_CRASHPOINT") else {}
    return kept | {"PYTHONPATH": str(RUNTIME_ONLY)} | testing | extra


def spawn(
    command: Sequence[str], *, environment: Mapping[str, str], output: Path
) -> "subprocess.Popen[bytes]":
    """Start `command` in the project's folder; what it prints is appended to `output`."""
    with output.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", _LAUNCHER, *command],
            cwd=ROOT,
            env=clean_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def until(happened: Callable[[], _T | None], seconds: float, otherwise: Callable[[], object]) -> _T:
    """Poll until `happened` returns something true; fails with what `otherwise` says.

    ``seconds`` is more than a quiet machine ever needs; a busy one gets ``SLOWEST`` times as much. The
    longer it takes the less often it looks: a question costs whoever is waited for its processor.
    """
    began = time.monotonic()
    while not (found := happened()):
        waited = time.monotonic() - began
        if waited > seconds * SLOWEST:
            raise AssertionError(f"not within {seconds * SLOWEST:g} s: {otherwise()}")
        time.sleep(min(max(POLL_SECONDS, waited / 10), LONGEST_POLL_SECONDS))
    return found


def alive(pid: int) -> bool:
    """False for a zombie too: its parent is gone or busy, and nothing of it acts any more."""
    return state(pid) not in ("", "Z")


def state(pid: int) -> str:
    """The kernel's letter for the state of a process (`T` is frozen), "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children_of(pid: int) -> dict[int, str]:
    """Process ids and command lines of the direct children."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):  # not ps: a bare Debian has none
        with suppress(FileNotFoundError, ProcessLookupError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                found[int(folder.name)] = b" ".join(words).decode(errors="replace").strip()
    return found


def kill(*pids: int) -> None:
    """SIGKILL each, and wait until none of them acts."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids), 10, lambda: f"still alive: {pids}")
