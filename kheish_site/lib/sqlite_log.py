"""Keeping SQLite's write-ahead log short, beside the commits instead of inside them.

Left to itself SQLite copies the log into the database at the end of whichever commit makes it long, and
waits there until it is on the disk: measured 50 to 150 ms, in every hundredth commit, with the write lock of
all processes behind it. A thread of the worker does it every second; commits only when it falls far behind.
"""

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)
PERIOD_SECONDS: Final = 1.0
FAR_BEHIND_PAGES: Final = 20_000
"""Length at which a commit copies the log after all: 80 MB."""


class LogKeeper:
    """Copies the log of one file into it, on a connection of its own. Readers and writers go on meanwhile."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="sqlite-log", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End; what the log still holds is safe there, and copied by whoever opens the file next."""
        self._ended.set()

    def copy(self) -> None:
        """Copy once what is committed; nothing where there is no file. Raises: sqlite3.Error."""
        if not self._path.exists():
            return
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            connection.close()

    def _keep(self) -> None:
        while not self._ended.wait(PERIOD_SECONDS):
            try:
                self.copy()
            except sqlite3.Error:  # busy, or the disk is full: commits would say so
                logger.warning("the log was not copied", exc_info=True, extra={"action": "sqlite.log"})
