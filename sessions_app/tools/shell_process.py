"""One shell command: its output carried while it runs, its end reported once.

It is a process group that never outlives this process (``lib.process_group``), and what it leaves behind dies
with it; a service belongs in a background task.
"""

import codecs
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from kheish_site.lib.process_group import ProcessGroup
from sessions_app.tools.base import MIB

logger = logging.getLogger(__name__)

TerminalReason = Literal["exited", "signalled", "stopped", "output_limit", "output_capture_failed"]
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL: Final = "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"
FLUSH_BYTES: Final = 32 * 1024
FLUSH_SECONDS: Final = 0.2
DRAIN_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class ExitReport:
    """How a command ended. ``exit_code`` is 128 + n after signal n, as shells count."""

    exit_code: int
    terminal_reason: TerminalReason
    total_bytes: int
    stop_reason: str = ""


class StartFailed(Exception):
    """The command could not be started; the message says why."""


def build_environment(allowlist: Iterable[str], source: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of ``source`` that a command may see.

    ``KHEISH_*`` never passes, whatever the list says: it configures the daemon and holds its keys.
    """
    kept = {name: source[name] for name in allowlist if name in source and not name.startswith("KHEISH_")}
    return {"PATH": DEFAULT_PATH, **kept}


class ShellProcess:
    """A command, started by ``start``; output and end are reported from a thread of its own.

    ``on_output`` gets text (merged standard output and error, broken UTF-8 and NUL replaced) in pieces of
    about 32 KiB or a fifth of a second; ``on_exit`` gets the report, once, last. Either may wait for a
    database; the command then waits on its pipe. When ``on_output`` raises, the command is killed and the
    report says ``output_capture_failed``. More than ``output_limit_bytes`` kills it too.
    """

    def __init__(
        self,
        *,
        command: str,
        workdir: Path,
        env: Mapping[str, str],
        on_output: Callable[[str], None],
        on_exit: Callable[[ExitReport], None],
        output_limit_bytes: int = 64 * MIB,
    ) -> None:
        self.command = command
        self.workdir = workdir
        self.env = dict(env)
        self.report: ExitReport | None = None
        self._on_output = on_output
        self._on_exit = on_exit
        self._output_limit_bytes = output_limit_bytes
        self._total_bytes = 0
        self._ending: tuple[TerminalReason, str] | None = None
        self._begun, self._ended = threading.Event(), threading.Event()
        self._guard = threading.Lock()

    @property
    def pid(self) -> int:
        """Process id of the command, which is also the id of its group."""
        return self._group.pid

    def start(self) -> None:
        """Start the command, once. Raises StartFailed."""
        try:
            self._start()
        except BaseException:
            self._ended.set()  # nothing will report it
            raise
        finally:
            self._begun.set()

    def _start(self) -> None:
        try:
            self._group = ProcessGroup(
                [SHELL, "-c", self.command],
                cwd=self.workdir,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except (OSError, ValueError) as error:
            raise StartFailed(str(error)) from error
        assert self._group.process.stdout is not None
        self._stdout = self._group.process.stdout
        self._readable = select.poll()  # not select(): descriptors above 1023 are usual in a busy worker
        self._readable.register(self._stdout, select.POLLIN)
        try:
            threading.Thread(target=self._pump, name=f"shell-{self.pid}", daemon=True).start()
        except RuntimeError as error:
            self._group.signal(signal.SIGKILL)
            self._reap()
            raise StartFailed(str(error)) from error

    def wait(self, timeout_seconds: float | None = None) -> ExitReport | None:
        """Return the report once the command ended and ``on_exit`` returned; None when time is over."""
        self._ended.wait(timeout_seconds)
        return self.report if self._ended.is_set() else None

    def stop(self, reason: str = "", *, grace_seconds: float = GRACE_SECONDS) -> ExitReport | None:
        """Ask the whole group to end, and kill it after ``grace_seconds``. Harmless when it has ended.

        While it is being started this waits until it runs, and then stops it.
        """
        self._begun.wait()
        if self._ended.is_set():
            return self.report
        self._end("stopped", reason, signal.SIGTERM)
        report = self.wait(grace_seconds)
        if report is None:
            self._group.signal(signal.SIGKILL)
            report = self.wait(grace_seconds + DRAIN_SECONDS)
        return report

    def _end(self, reason: TerminalReason, detail: str, signum: signal.Signals) -> None:
        with self._guard:
            if self._group.is_gone:
                return
            self._ending = self._ending or (reason, detail)
        self._group.signal(signum)

    def _pump(self) -> None:
        """Carry output until the command ends, then clear its group and report."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            self._carry(decoder)
            self._deliver(decoder.decode(b"", final=True))
        except Exception:  # the edge: whatever the receiver raises, the command must not run on unseen
            logger.exception("shell output could not be stored", extra={"action": "shell.capture_failed"})
            with self._guard:  # also of a command that has ended: what it said is not known whole
                self._ending = self._ending or ("output_capture_failed", "")
            self._group.signal(signal.SIGKILL)
        returncode = self._reap()
        reason, detail = self._ending or ("exited" if returncode >= 0 else "signalled", "")
        self.report = ExitReport(
            exit_code=returncode if returncode >= 0 else 128 - returncode,
            terminal_reason=reason,
            total_bytes=self._total_bytes,
            stop_reason=detail,
        )
        try:
            self._on_exit(self.report)
        except Exception:  # the edge: recovery settles the task when its end could not be recorded
            logger.exception("shell exit could not be recorded", extra={"action": "shell.exit_failed"})
        finally:
            self._ended.set()

    def _reap(self) -> int:
        returncode = self._group.reap()
        self._stdout.close()
        return returncode

    def _carry(self, decoder: codecs.IncrementalDecoder) -> None:
        """Read until nobody can write any more, or for a moment after the command itself has ended."""
        waiting, since = bytearray(), time.monotonic()
        stop_reading_at: float | None = None
        while stop_reading_at is None or time.monotonic() < stop_reading_at:
            data = self._read()
            waiting += data or b""
            if waiting and (len(waiting) >= FLUSH_BYTES or time.monotonic() - since >= FLUSH_SECONDS):
                self._deliver(decoder.decode(bytes(waiting)))
                waiting.clear()
            if not waiting:
                since = time.monotonic()
            if data == b"":
                break
            if stop_reading_at is None and self._group.process.poll() is not None:
                self._group.signal(signal.SIGKILL)
                stop_reading_at = time.monotonic() + DRAIN_SECONDS
        self._deliver(decoder.decode(bytes(waiting)))

    def _read(self) -> bytes | None:
        """Return what there is, b"" at the end, None when nothing came for a moment."""
        if not self._readable.poll(FLUSH_SECONDS * 500):
            return None
        data = os.read(self._stdout.fileno(), FLUSH_BYTES)
        self._total_bytes += len(data)
        if self._total_bytes > self._output_limit_bytes:
            self._end("output_limit", "", signal.SIGKILL)
        return data

    def _deliver(self, text: str) -> None:
        if text:
            self._on_output(text.replace("\x00", "\ufffd"))
