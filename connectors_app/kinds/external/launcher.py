"""Becomes the command it is given, and leaves behind who ends it and all it started when the worker dies.

Run as a file by a bare interpreter: ``launcher.py LIFELINE COMMAND ARGUMENTS…``, as the leader of a process
group. LIFELINE is a file descriptor: the reading end of a pipe whose other end only the worker holds, so that
it comes to its end with the worker, however that ends. Not the kernel's signal at a parent's death: that
reaches the command alone, and what a wrapper has started would go on, holding its port, for ever.
"""

import os
import signal
import sys

EXIT_NOT_STARTED = 127


def main(lifeline: int, command: list[str]) -> None:
    """Never returns: the process becomes the command, or ends with 127."""
    go_between = os.fork()
    if go_between == 0:
        if os.fork() == 0:
            _watch(lifeline)
        os._exit(0)  # the one who watches is nobody's child: the command may wait for all of its own
    os.waitpid(go_between, 0)
    os.close(lifeline)
    try:
        os.execvp(command[0], command)
    except OSError:
        os._exit(EXIT_NOT_STARTED)


def _watch(lifeline: int) -> None:
    """Wait for the end of the worker, and then end the whole group, this process with it."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
