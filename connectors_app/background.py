"""The background work of a process for the connectors: load their file, and again when it changes."""

import logging
import threading
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections

from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import release_connection
from sessions_app.services import ticks

logger = logging.getLogger(__name__)
LOOK_SECONDS: Final = 1.0


def load_file() -> None:
    """Apply the connectors file, where there is one. Raises: ConnectorsFileInvalid."""
    from connectors_app.services import (
        connectors_file,  # heavy to import, and rarely needed
    )

    connectors_file.reload()


class FileWatch:
    """Applies the connectors file again when it changes. A wrong file is logged once and changes nothing."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._worker = ""

    def start(self, worker: str) -> None:
        """Begin to watch, where there is a file."""
        self._worker = worker
        if settings.KHEISH.connectors_file is not None:
            threading.Thread(target=self._watch, name="connectors-file", daemon=True).start()

    def drain(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def stop(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def _watch(self) -> None:
        seen = _stamp()
        while not self._ended.wait(LOOK_SECONDS):
            found = _stamp()
            if found == seen:
                continue
            if self._apply():
                seen = found

    def _apply(self) -> bool:
        """Apply the file or log what is wrong with it; False when it must be tried again."""
        close_old_connections()
        try:
            if not ticks.take("connectors-file", self._worker, seconds=2 * LOOK_SECONDS):
                return False  # another worker is applying it, perhaps an older version: try again later
            load_file()
        except KheishError as error:
            logger.error("connectors file not applied: %s", error, extra={"action": "connectors.load"})
        except DatabaseError:
            logger.warning("the database did not answer", exc_info=True, extra={"action": "connectors.load"})
            return False
        finally:
            release_connection()
        return True


def _stamp() -> tuple[int, int]:
    """Return a value that changes when the file does."""
    path = settings.KHEISH.connectors_file
    try:
        found = path.stat() if path else None
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size) if found else (0, 0)
