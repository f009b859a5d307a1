"""Named places where a test may kill or freeze the process, to prove what a crash there leaves.

``KHEISH_CRASHPOINT=name`` kills with SIGKILL the first process that passes ``name``;
``KHEISH_CRASHPOINT=name:stop`` freezes it with SIGSTOP instead. Of several names (``one,other``) whichever
is passed first counts. ``KHEISH_CRASHPOINT_SKIP=n`` lets it pass the first of them ``n`` times before.
``KHEISH_CRASHPOINT_ONCE=path`` makes it happen once for all processes that share that marker file, so that a
restarted worker survives the place that killed the first; the file then says where it was. Unset, the cost is
one comparison. A process that is not under test (``KHEISH_TESTING=1``) refuses to start with it, and so does
one that is told a name that is not listed here.
"""

import os
import signal
import threading
from collections.abc import Mapping
from itertools import count
from typing import Final

POINTS: Final[Mapping[str, str]] = {
    "claimed": "the session's lease was taken and its head run moved to running",
    "model.before": "a step is open and the model was not called yet",
    "model.after": "the model has answered and nothing of it is committed",
    "planned": "the answer and its planned calls are committed, and none of these has started",
    "tool.started": "a call is committed as started and has not left yet",
    "tool.returned": "the effect happened and its result is not committed",
    "tool.settled": "the result is committed",
    "effect.judged": "what a dead worker had started was found to be of unknown outcome",
    "suspending": "the run waits for people, in a transaction that is still open",
    "suspended": "the run waits for people, committed",
    "request.done": "a creating or deciding request has done its work, not committed",
    "request.kept": "its work and answer are committed, and nobody has read the answer",
    "ingress.submitted": "an event is a run, not committed",
    "ingress.accepted": "an event is a run, committed, and its sender does not know",
    "delivery.sending": "a delivery is committed as sending and has not left yet",
    "delivery.sent": "the target has it and its outcome is not committed",
    "delivery.settled": "an outcome is committed, perhaps with the beginning of the next delivery",
    "telegram.taken": "an update was taken and the offset still names it",
    "observation_schedule.before_commit": "a schedule has fired, not committed",
    "observation_schedule.after_commit": "a schedule has fired, committed",
    "master_key.written": "a new master key is in its file and seals nothing yet",
    "master_key.resealed": "every secret is sealed under the new master key and the old keys are still there",
}
"""Every place, and what holds when a process dies there."""


class Refused(RuntimeError):
    """The environment asks for a crash where it may not, or at a place that does not exist."""


_targets: tuple[str, ...] = ()
_action = ""
_marker = ""
_skip = 0
_passed = count()


def arm(environment: Mapping[str, str]) -> None:
    """Take from ``environment`` where this process dies. Raises: Refused."""
    global _targets, _action, _marker, _skip
    names, _, action = environment.get("KHEISH_CRASHPOINT", "").partition(":")
    wanted = tuple(name for name in names.split(",") if name)
    if wanted and environment.get("KHEISH_TESTING") != "1":
        raise Refused("KHEISH_CRASHPOINT kills processes: it is for tests alone, which set KHEISH_TESTING=1")
    if not set(wanted) <= POINTS.keys() or action not in ("", "stop"):
        raise Refused(f"KHEISH_CRASHPOINT names {names}:{action}; there are: {', '.join(POINTS)}")
    _targets, _action, _marker = wanted, action, environment.get("KHEISH_CRASHPOINT_ONCE", "")
    _skip = int(environment.get("KHEISH_CRASHPOINT_SKIP", "0"))


def crashpoint(name: str) -> None:
    """Die or freeze here if the environment asks for it; otherwise do nothing."""
    if not _targets or name not in _targets:
        return
    if (name == _targets[0] and next(_passed) < _skip) or not _first_time(name):
        return
    if _action == "stop":
        # At this thread: sent to the process, another thread may take it while this one runs on.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _first_time(name: str) -> bool:
    if not _marker:
        return True
    try:
        descriptor = os.open(_marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    os.write(descriptor, name.encode())
    os.close(descriptor)
    return True


arm(os.environ)
