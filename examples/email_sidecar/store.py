"""What must be known after a crash: which deliveries were sent, which mails are not to be asked about again.

A delivery is written down twice, each time flushed to the disk before going on (SQLite, synchronous FULL):

* BEFORE the mail server is spoken to, as ``sending``. A record that still says so after a crash means that
  nobody knows; the delivery is then sent again under the same Message-ID, by which mail programs and many
  servers recognise the copy.
* AFTER the mail server took the message, as ``sent``. A repeat of that delivery sends nothing and is
  answered ``committed``.
"""

import sqlite3
import threading
import time
from pathlib import Path

KEPT_SECONDS = 30 * 24 * 3600.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (delivery_id TEXT PRIMARY KEY, state TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS refused (event_id TEXT PRIMARY KEY, reason TEXT NOT NULL, at REAL NOT NULL);
"""


class Store:
    """One small database in the state folder. Thread safe."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            folder / "email-sidecar.sqlite3", check_same_thread=False, isolation_level=None
        )
        self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)

    def is_sent(self, delivery_id: str) -> bool:
        """Tell whether the mail server took it."""
        with self._lock:
            found = self._connection.execute(
                "SELECT 1 FROM deliveries WHERE delivery_id = ? AND state = 'sent'", (delivery_id,)
            )
            return found.fetchone() is not None

    def begin(self, delivery_id: str) -> None:
        """Write down that a delivery is about to leave."""
        with self._lock:
            self._put(delivery_id, "sending")

    def sent(self, delivery_id: str) -> None:
        """Write down that the mail server took it."""
        with self._lock:
            self._put(delivery_id, "sent")
            old = time.time() - KEPT_SECONDS
            self._connection.execute("DELETE FROM deliveries WHERE at < ?", (old,))

    def refuse(self, event_id: str, reason: str) -> None:
        """Do not ask about this mail again; it stays unread for a person."""
        with self._lock:
            self._connection.execute(
                "INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", (event_id, reason[:500], time.time())
            )

    def is_refused(self, event_id: str) -> bool:
        """Tell whether the mail was put aside."""
        with self._lock:
            found = self._connection.execute("SELECT 1 FROM refused WHERE event_id = ?", (event_id,))
            return found.fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _put(self, delivery_id: str, state: str) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?)", (delivery_id, state, time.time())
        )
