"""Taking turns between processes that write one SQLite file.

SQLite's own wait for the write lock sleeps longer and longer, up to a tenth of a second, whoever comes
first: under load a short write waits a hundred times as long as it takes. A lock on a file beside the
database is asked for every half millisecond instead. It only orders the waiting: SQLite's lock is the one
that protects, so whoever gets no turn in time goes on to that one.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

PAUSE_SECONDS: Final = 0.0005
LONGEST_SECONDS: Final = 5.0
"""A writer that is frozen in its turn keeps the others no longer than this from SQLite's own wait."""


@contextmanager
def turn(database: str) -> Iterator[None]:
    """Hold the turn of ``database``, a path; the kernel takes it back from a process that dies.

    The threads of one process must already take turns among themselves.
    """
    descriptor = _descriptor(database, os.getpid())
    taken = _take(descriptor)
    try:
        yield
    finally:
        if taken:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@cache
def _descriptor(database: str, pid: int) -> int:
    """Return this process's own descriptor: one that came through a fork would share its lock."""
    return os.open(Path(f"{database}.turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(descriptor: int) -> bool:
    give_up = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                return False
            time.sleep(PAUSE_SECONDS)
        else:
            return True
