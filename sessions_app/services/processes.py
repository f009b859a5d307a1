"""Telling one process from another that got its number later."""

import os
import socket
from pathlib import Path


def host() -> str:
    """Return this machine's name and boot, so that a process of an earlier boot is never taken for ours."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}/{boot.read_text().strip()[:8]}" if boot.exists() else socket.gethostname()


def started(pid: int) -> str:
    """Return when ``pid`` began (clock ticks since boot, as text), or "" when there is no such process.

    Where there is no ``/proc`` a living process answers "?", which tells living from dead but not one
    process from a later one of the same number.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return _signalled(pid) if not Path("/proc/self/stat").exists() else ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]


def _signalled(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "?"
    return "?"
