"""Waking a thread that is blocked on a model's answer, when its call is cancelled or out of time.

A thread in ``recv`` sees no event. Polling in short reads would wake hundreds of waiting threads twenty
times a second, so one thread per process looks after all calls and shuts down the socket of a call that
has to stop; the blocked ``recv`` then returns at once.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Literal

TICK_SECONDS = 0.02

Reason = Literal["", "cancelled", "expired"]


class CallStopped(Exception):
    """The call may not touch the network any more; ``Watch.reason`` says why."""


class Watch:
    """One model call under watch, from entering the context to leaving it.

    Only a socket inside ``blocking`` is ever shut down: a connection that went back to the pool may
    already serve somebody else.
    """

    def __init__(self, cancelled: threading.Event, *, total_seconds: float) -> None:
        self.reason: Reason = ""
        self.read_limit_seconds: float | None = None
        self._cancelled = cancelled
        self._deadline = time.monotonic() + total_seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def __enter__(self) -> "Watch":
        _watcher.add(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _watcher.discard(self)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Make this the call on whose behalf the current thread uses the network."""
        previous = current()
        _thread.watch = self
        try:
            yield
        finally:
            _thread.watch = previous

    @contextlib.contextmanager
    def blocking(self, sock: socket.socket) -> Iterator[None]:
        """Around one read or write. Raises CallStopped when the call has to stop, before or during it."""
        with self._lock:
            self._look()
            self._refuse_if_stopped()
            self._socket = sock
        try:
            yield
        finally:
            with self._lock:
                self._socket = None

    def check(self) -> None:
        """Raise CallStopped when the call has to stop."""
        with self._lock:
            self._look()
            self._refuse_if_stopped()

    def look(self) -> None:
        """Notice a cancellation or the deadline, and wake the thread that is blocked."""
        with self._lock:
            self._look()
            if self.reason and self._socket is not None:
                with contextlib.suppress(OSError):  # the peer may have closed it already
                    # Not SSLSocket.shutdown: that would pull the TLS state from under the blocked reader.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _look(self) -> None:
        if self._cancelled.is_set():
            self.reason = "cancelled"
        elif not self.reason and time.monotonic() >= self._deadline:
            self.reason = "expired"

    def _refuse_if_stopped(self) -> None:
        if self.reason:
            raise CallStopped(self.reason)


class _Watcher:
    """The process's one watching thread; it sleeps for good while there are no calls."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: set[Watch] = set()
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        with self._changed:
            self._watches.add(watch)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="model-call-watch", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify()

    def discard(self, watch: Watch) -> None:
        with self._changed:
            self._watches.discard(watch)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._watches:
                    self._changed.wait()
                watches = tuple(self._watches)
            for watch in watches:
                watch.look()
            time.sleep(TICK_SECONDS)


class _Thread(threading.local):
    watch: Watch | None = None


_thread = _Thread()
_watcher = _Watcher()


def current() -> Watch | None:
    """The watch attached to this thread, if any."""
    return _thread.watch


def _start_afresh() -> None:
    global _watcher
    _watcher = _Watcher()  # threads do not survive a fork


os.register_at_fork(after_in_child=_start_afresh)
