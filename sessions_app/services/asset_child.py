"""Asking ``asset_worker``: one process a file, with a limit on its time, its memory and its number."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, Final

from kheish_site.lib.errors import Unavailable

CPU_SECONDS: Final = 10
MEMORY_BYTES: Final = 1024 * 1024 * 1024
WALL_SECONDS: Final = 30.0
QUEUE_SECONDS: Final = 60.0
_PLACES: Final = threading.BoundedSemaphore(2)
"""Files that one of our processes has opened at once: each may take a processor and ``MEMORY_BYTES``."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of a file. ``error`` says why nothing did, in words for whoever sent it."""

    facts: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""

    @property
    def error(self) -> str:
        """Why the file cannot be used, or ""."""
        return str(self.facts.get("error", ""))


def ask(request: dict[str, Any], content: bytes) -> Found:
    """Return what the worker made of ``content``; a worker that dies or hangs is an error of the file.

    Takes up to ``WALL_SECONDS``, so better outside a transaction. Raises: Unavailable (too many at once).
    """
    limits = {"cpu_seconds": CPU_SECONDS, "memory_bytes": MEMORY_BYTES}
    question = json.dumps({**limits, **request}).encode() + b"\n" + content
    if not _PLACES.acquire(timeout=QUEUE_SECONDS):
        raise Unavailable("too many files are being opened; try again", retry_after_seconds=5)
    try:
        return _run(question)
    finally:
        _PLACES.release()


def _run(question: bytes) -> Found:
    process = subprocess.Popen(
        [sys.executable, "-m", "sessions_app.services.asset_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
    )
    with process:
        try:
            output, _ = process.communicate(question, timeout=WALL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return Found(facts={"error": "reading it takes too long"})
    head, _, body = output.partition(b"\n")
    if process.returncode != 0 or not head:
        return Found(facts={"error": "reading it takes too much time or memory"})
    return Found(facts=json.loads(head), body=body)
