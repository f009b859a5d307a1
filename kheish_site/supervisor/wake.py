"""Waiting that a signal ends, for a main loop whose signal handlers only note what was asked."""

import os
import select
import signal


class Wake:
    """A wait that any handled signal ends at once, also one that came just before it.

    The interpreter itself writes to a pipe. A handler may touch no ``threading.Event``: where it interrupts
    the main thread inside of one it waits for a lock that this very thread holds, for ever. One at a time,
    in the main thread only; every signal that should count needs a handler.
    """

    def __init__(self) -> None:
        self._woken, self._written = os.pipe()
        for end in (self._woken, self._written):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._written, warn_on_full_buffer=False)

    def wait(self, seconds: float) -> None:
        """Return when a signal comes, or after ``seconds``."""
        if select.select([self._woken], [], [], seconds)[0]:
            os.read(self._woken, 4096)

    def close(self) -> None:
        """Listen to signals no more."""
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._written)
