"""Exit codes of the command line, and the one exception that carries them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a shell script may branch on; documented in `kheish --help`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMED_OUT = 3
    NOT_ALLOWED = 4
    RUN_ENDED_BADLY = 5
    CONFLICT = 6
    NO_SERVICE = 7
    WAITS_FOR_PERSON = 20
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "wrong use, or a request the service refuses as malformed",
    Exit.TIMED_OUT: "timed out (--timeout)",
    Exit.NOT_ALLOWED: "not signed in, or not allowed",
    Exit.RUN_ENDED_BADLY: "the run did not complete (--exit-status)",
    Exit.CONFLICT: "conflict: already decided, changed meanwhile, or done in part",
    Exit.NO_SERVICE: "no service answers",
    Exit.WAITS_FOR_PERSON: "the run waits for a person (--exit-on-wait)",
    Exit.INTERRUPTED: "Ctrl-C",
}


class CliError(Exception):
    """A failure a person reads: one sentence, the cure, and the exit code."""

    def __init__(self, message: str, *, cure: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.code = code


class UsageError(CliError):
    """The command line itself makes no sense; exit code 2."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message, cure=cure, code=Exit.USAGE)


class TimedOut(CliError):
    """The deadline given with --timeout passed; exit code 3."""

    def __init__(self, message: str = "timed out", *, cure: str = "") -> None:
        super().__init__(message, cure=cure, code=Exit.TIMED_OUT)
