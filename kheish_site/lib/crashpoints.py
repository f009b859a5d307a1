"""Named places where a test may kill or freeze the process, to prove what a crash there leaves.

``KHEISH_CRASHPOINT=name`` kills with SIGKILL the first process that passes ``name``;
``KHEISH_CRASHPOINT=name:stop`` freezes it with SIGSTOP instead. ``KHEISH_CRASHPOINT_ONCE=path``
makes it happen once for all processes that share that marker file, so that a restarted worker
survives the place that killed the first. Unset, the cost is one comparison.
"""

import os
import signal
import threading
from typing import Final

_TARGET: Final = os.environ.get("KHEISH_CRASHPOINT", "")
_MARKER: Final = os.environ.get("KHEISH_CRASHPOINT_ONCE", "")


def crashpoint(name: str) -> None:
    """Die or freeze here if the environment asks for it; otherwise do nothing."""
    if not _TARGET:
        return
    wanted, _, action = _TARGET.partition(":")
    if wanted != name or not _first_time():
        return
    if action == "stop":
        # At this thread: sent to the process, another thread may take it while this one runs on.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _first_time() -> bool:
    if not _MARKER:
        return True
    try:
        os.close(os.open(_MARKER, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True
