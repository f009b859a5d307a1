"""Waiting inside a request for something a worker will write, without holding a transaction or a connection.

Each waiting request holds a thread, so one process lets ``MOST_WAITERS`` wait at a time; the next one is
answered at once, as if it had not asked to wait.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from django.db import connection

from kheish_site.lib.transactions import release_connection

LONGEST_SECONDS: Final = 60.0
MOST_WAITERS: Final = 64
_FIRST_LOOK_SECONDS: Final = 0.05
_LATER_LOOK_SECONDS: Final = 0.5

_PLACES: Final = threading.BoundedSemaphore(MOST_WAITERS)


def until(happened: Callable[[], bool], seconds: float) -> bool:
    """Look until ``happened`` or ``seconds`` (at most 60) are over; False when there was no place to wait.

    The looks grow from 50 ms to half a second apart. Raises: RuntimeError inside a transaction.
    """
    if connection.in_atomic_block:
        raise RuntimeError("a transaction may not stay open across a wait")
    if not _PLACES.acquire(blocking=False):
        return False
    try:
        _look(happened, time.monotonic() + min(seconds, LONGEST_SECONDS))
    finally:
        _PLACES.release()
    return True


def _look(happened: Callable[[], bool], deadline: float) -> None:
    pause = _FIRST_LOOK_SECONDS
    while not happened():
        left = deadline - time.monotonic()
        if left <= 0:
            return
        release_connection()
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LATER_LOOK_SECONDS)
