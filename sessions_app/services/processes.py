"""Telling one process from another that got its number later."""

import os
import socket
from contextlib import suppress
from pathlib import Path


def host() -> str:
    """Return where the numbers of processes mean the same as here: this machine, its boot, our PID namespace.

    Of two containers with one host name neither sees the other's processes, and would take them for dead.
    """
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    return "/".join(parts)


def started(pid: int) -> str:
    """Return when ``pid`` began (clock ticks since boot, as text), or "" when there is no such process.

    Where there is no ``/proc`` a living process answers "?", which tells living from dead but not one
    process from a later one of the same number.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second when it ends between opening and reading
        return _signalled(pid) if not Path("/proc/self/stat").exists() else ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]


def _signalled(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # it lives, and belongs to somebody else
    return "?"
