"""A Ctrl-C that is not lost.

CPython 3.11 looks for signals while it words an error, and that error then replaces the KeyboardInterrupt.
Seen where a stream breaks off (``int(b"", 16)`` in ``http.client``): one in thirty was lost, and a command
that reconnects went on for ever. So the handler also notes that it was asked, and whatever begins again after
an error pauses here first.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

_asked = threading.Event()


def hear() -> None:
    """Note Ctrl-C from now on, unless this process was told to ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def pause(seconds: float) -> None:
    """Sleep before something begins again. Raises the KeyboardInterrupt that may have been lost."""
    if _asked.is_set():
        raise KeyboardInterrupt
    time.sleep(seconds)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
