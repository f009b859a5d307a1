"""Append-only files of what somebody outside the system saw, on the disk before the next step is taken."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any


class Record:
    """One witness's file: a JSON object a line, each synced before ``add`` returns."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()

    def add(self, what: str, **fields: Any) -> float:
        """Write down ``what`` happened; returns when, in seconds since the epoch."""
        at = time.time()
        line = json.dumps({"at": at, "what": what, **fields}, ensure_ascii=False) + "\n"
        with self._lock:
            os.write(self._descriptor, line.encode())
            os.fsync(self._descriptor)
        return at


def read(path: Path) -> list[dict[str, Any]]:
    """Return everything a witness wrote; a last line that was cut off with its writer is no line."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]
