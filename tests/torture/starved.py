"""A witness of the machine: whether it let a worker run at all.

A lease of some seconds runs out when a machine is so busy that nobody renews it in time. To the service that
is a frozen worker, and what it was in the middle of is unknown; nobody did anything to it but the kernel's
scheduler. Linux counts for each thread how long it waited for a processor while it could have run.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.torture.record import Record

_LOOK_SECONDS: Final = 0.5
Waits = dict[str, int]


class Watch:
    """Writes down ``starved`` for each of ``pids`` that waited for half of ``seconds`` within ``seconds``."""

    def __init__(self, record: Record, pids: Callable[[], Iterable[int]], seconds: float) -> None:
        self._record, self._pids, self._seconds = record, pids, seconds
        self._before: dict[int, deque[Waits]] = {}
        self._over = threading.Event()
        self.found: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="starved", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Compare what each thread has waited until now with what it had some looks ago."""
        alive = set(self._pids())
        for gone in self._before.keys() - alive:
            del self._before[gone]
        for pid in alive:
            looks = self._before.setdefault(pid, deque(maxlen=int(self._seconds / _LOOK_SECONDS) + 1))
            looks.append(waits(pid))
            longest = max((now - looks[0].get(thread, now) for thread, now in looks[-1].items()), default=0)
            if longest > self._seconds / 2 * 1e9:
                self.found.add(pid)
                span = self._seconds + _LOOK_SECONDS
                self._record.add("starved", pid=pid, role="worker", lasted=span)


def waits(pid: int) -> Waits:
    """Return for how many nanoseconds each thread of a process has waited for a processor, ever."""
    found: Waits = {}
    with suppress(OSError):
        for folder in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, IndexError, ValueError):
                found[folder.name] = int((folder / "schedstat").read_text().split()[1])
    return found
