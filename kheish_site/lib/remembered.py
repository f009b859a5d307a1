"""Answers that cost too much to be found anew each time, remembered in this process for a while."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Remembered(Generic[_T]):
    """What ``read`` returned, at most ``seconds`` ago. Threads may share it: one reads, the others wait.

    An error of ``read`` passes through and is not remembered.
    """

    def __init__(self, read: Callable[[], _T], *, seconds: float) -> None:
        self._read, self._seconds = read, seconds
        self._lock = threading.Lock()
        self._found: tuple[float, _T] | None = None

    def __call__(self) -> _T:
        """Return the answer. Raises what ``read`` raises."""
        with self._lock:
            if self._found is None or time.monotonic() - self._found[0] >= self._seconds:
                self._found = time.monotonic(), self._read()
            return self._found[1]

    def forget(self) -> None:
        """Read anew next time."""
        with self._lock:
            self._found = None
