"""A child process that belongs to the service: started, watched, restarted, stopped."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

PR_SET_PDEATHSIG = 1
LONGEST_WAIT_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""After living this long, a child's earlier deaths no longer count."""

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Run in the new child before exec, so that a killed service leaves no process behind.

    SIGKILL, because the next service may start at once: work in flight is recovered from rows.
    """
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One command that should always be running."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], keep: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._keep = tuple(keep)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._deaths = 0
        self._start_at = 0.0

    @property
    def pid(self) -> int:
        """Process id, 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the command in a session of its own, so that only the parent gets Ctrl-C of the terminal."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,  # the parent has a single thread
            pass_fds=self._keep,
        )
        self._started_at = time.monotonic()

    def exited(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll() if self._process else None

    def watch(self) -> str:
        """Restart an ended child when its wait is over; return a sentence for people when there is news."""
        code = self.exited()
        if code is None:
            return ""
        now, news = time.monotonic(), ""
        if not self._start_at:
            self._deaths = 1 if now - self._started_at > STEADY_SECONDS else self._deaths + 1
            wait = 0.0 if self._deaths == 1 else min(LONGEST_WAIT_SECONDS, 2.0 ** (self._deaths - 2))
            self._start_at = now + wait
            news = f"The {self.name} process ended ({_how(code)}); starting it again in {wait:.0f} s."
        if now >= self._start_at:
            try:
                self.start()
            except OSError as error:  # memory or process ids have run out: both pass
                self._start_at = now + LONGEST_WAIT_SECONDS
                return f"The {self.name} process cannot be started ({error.strerror}); trying again."
            self._start_at = 0.0
        return news

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the child is alive."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def kill_group(self) -> None:
        """Kill the child and all it left in its process group."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
