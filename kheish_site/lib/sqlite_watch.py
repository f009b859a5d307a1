"""Notice commits to an SQLite file made by any process, this one included.

``PRAGMA data_version`` changes when another connection commits; asking costs a few microseconds and
takes no lock that a writer could feel, so it can be asked every 20 ms (measured: a waiting reader hears
of a commit after 10 ms on average). It says that something changed, never what.
"""

import sqlite3
import threading
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.02


class ChangeWatcher:
    """Watches one file through a read-only connection of its own.

    One thread at a time may ask; any thread may ``close``. A file that does not exist yet, or that
    cannot be read for a moment, counts as unchanged.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None
        self._closed = threading.Event()

    def changed(self) -> bool:
        """Tell whether somebody committed since the last answer; the first answer is False."""
        version = self._version()
        if version is None:
            return False
        was, self._seen = self._seen, version
        return was is not None and was != version

    def wait(self, timeout_seconds: float) -> bool:
        """Block until somebody commits (True), or until the time is up or ``close`` is called (False)."""
        polls = max(1, round(timeout_seconds / POLL_SECONDS))
        for _ in range(polls):
            if self._closed.is_set():
                return False
            if self.changed():
                return True
            self._closed.wait(POLL_SECONDS)
        return self.changed()

    def close(self) -> None:
        """End a running ``wait`` within one poll; the connection goes with the watcher."""
        self._closed.set()

    def _version(self) -> int | None:
        try:
            if self._connection is None:
                self._connection = self._open()
            # fetchall ends the statement: a half-read one would keep the log from being checkpointed
            return int(self._connection.execute("PRAGMA data_version").fetchall()[0][0])
        except sqlite3.Error:
            self._forget()
            return None

    def _open(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)

    def _forget(self) -> None:
        """A new connection counts versions of its own, so the next answer starts afresh."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._seen = None, None
