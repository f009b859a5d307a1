"""A process group that never outlives the process which started it.

The command runs as leader of a session of its own, so that everything it starts can be signalled at once.
Beside it, in the same group, a watcher waits on a pipe, the lifeline, whose other end only this process has:
when this process dies, SIGKILL included, the pipe ends and the watcher kills the group. The kernel's
parent-death signal would reach only the leader, and already when the *thread* that started it ends.
What a command leaves behind in its group dies with it. A process that makes itself a session of its own
(setsid) is out of reach.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

NOT_STARTED: Final = frozenset({126, 127})
"""How a command ends that is not there (127) or cannot be executed (126)."""

# Standard input is the lifeline's read end; the arguments are the command, whose own is empty. The watcher
# gives up the outputs and outlasts a polite signal to the group, so that the group's number stays taken: it
# is born ignoring them, for one that had to set its own trap first could be ended before it has. It is
# nobody's child (forked twice), because a command may wait for all children it has.
_LAUNCHER: Final = """
exec 3<&0 </dev/null
trap '' TERM INT HUP
( (read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & )
trap - TERM INT HUP
exec 3<&-
exec "$@"
"""


class ProcessGroup:
    """A command that runs from the moment this is made, with its outputs where ``stdout`` and ``stderr`` say.

    Whoever makes one has to ``reap`` it, once: that also lets go of the lifeline.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | Path | None,
        env: Mapping[str, str],
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> None:
        """Start the command. Raises: OSError, ValueError."""
        self._guard = threading.Lock()
        self._is_gone = False
        lifeline, self._lifeline = os.pipe()
        try:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCHER, "sh", *command],
                cwd=cwd,
                env=env,
                stdin=lifeline,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)

    @property
    def pid(self) -> int:
        """Process id of the command, which is also the id of its group."""
        return self.process.pid

    @property
    def is_gone(self) -> bool:
        """Tell whether nothing is left to be signalled."""
        return self._is_gone

    def signal(self, signum: signal.Signals) -> None:
        """Signal the group unless it is gone: its number may belong to somebody else by then."""
        with self._guard:
            if self._is_gone:
                return
            try:
                os.killpg(self.pid, signum)
            except ProcessLookupError:
                self._is_gone = True
            else:
                self._is_gone = signum == signal.SIGKILL  # which the watcher does not outlive

    def reap(self) -> int:
        """Wait for the command, kill what it left behind, and return how it ended (as ``Popen`` says it)."""
        returncode = self.process.wait()
        try:
            # Until it is killed, the watcher keeps the group's number from being given to others.
            self.signal(signal.SIGKILL)
        finally:
            os.close(self._lifeline)
        return returncode
