"""Becomes the command it is given, once the kernel has promised to end it with its parent.

Run as a file by a bare interpreter: ``launcher.py PARENT-PID COMMAND ARGUMENTS…``. Not ``preexec_fn``: that
runs Python between fork and exec, where a thread of the worker may have held any lock.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
EXIT_NOT_STARTED = 127


def main(parent: int, command: list[str]) -> None:
    """Never returns: the process becomes the command, or ends with 127."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_NOT_STARTED)  # the parent died before the promise was made
    try:
        os.execvp(command[0], command)
    except OSError:
        os._exit(EXIT_NOT_STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
