"""Ports of the core: what the apps above it may hang in, in ``AppConfig.ready``, and the core calls.

The core knows none of them. With nothing registered it runs as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sessions_app.models import Approval, OperatorDecision, Run, UserQuestion


class Background(Protocol):
    """Something every worker process runs beside its sessions. ``worker`` is the process's unique name."""

    def start(self, worker: str) -> None:
        """Begin, in threads of its own. Called once, when the worker has announced itself."""
        ...

    def drain(self) -> None:
        """Begin nothing new. Called inside a signal handler: no lock, no query."""
        ...

    def stop(self) -> None:
        """End within seconds; what is in flight is left to whoever takes over."""
        ...


OutputListener = Callable[[Run, Mapping[str, Any], str], None]
"""Called with the run, an output and its key inside the transaction that commits the output.

The session's row lock is held. The key is the same whenever the same output is committed again.
"""

Asked = Approval | UserQuestion | OperatorDecision
AskedListener = Callable[[Run, Sequence[Asked]], None]
"""Called with a run that has somebody to answer to and what it newly asks people, at least one item.

Inside the transaction that suspends the run, with the session's row lock held. An item is told of once: what
was asked before stays out, and a transaction that is rolled back asked nothing.
"""

SlotUsers = Callable[[list[str]], Mapping[str, list[str]]]
"""Returns for each secret slot of a list what names it, such as ``connector:slack/ops``; one query."""

Preparation = Callable[[], object]
"""Makes what an installation needs before it serves; idempotent. Raises KheishError with the reason."""

_BACKGROUND: list[Callable[[], Background]] = []
_OUTPUTS: list[OutputListener] = []
_SLOT_USERS: list[SlotUsers] = []
_PREPARATIONS: list[Preparation] = []
_ASKED: list[AskedListener] = []


def register_background(factory: Callable[[], Background]) -> None:
    """Run what ``factory`` makes in every worker process."""
    _BACKGROUND.append(factory)


def make_background() -> list[Background]:
    """Return fresh background work for one worker process."""
    return [factory() for factory in _BACKGROUND]


def on_output(listener: OutputListener) -> None:
    """Call ``listener`` for each output of a run."""
    _OUTPUTS.append(listener)


def output_emitted(run: Run, output: Mapping[str, Any], key: str) -> None:
    """Tell the listeners of an output. Needs the transaction that commits it."""
    for listener in _OUTPUTS:
        listener(run, output, key)


def on_asked(listener: AskedListener) -> None:
    """Call ``listener`` when a run suspends to ask people."""
    _ASKED.append(listener)


def asked(run: Run, items: Sequence[Asked]) -> None:
    """Tell the listeners what ``run`` newly asks. Needs the transaction that suspends it."""
    for listener in _ASKED:
        listener(run, items)


def register_slot_users(users: SlotUsers) -> None:
    """Let ``users`` say which secret slots are in use."""
    _SLOT_USERS.append(users)


def slot_users(slot_ids: list[str]) -> dict[str, list[str]]:
    """Return what the apps above name of these slots."""
    found: dict[str, list[str]] = {slot_id: [] for slot_id in slot_ids}
    for users in _SLOT_USERS:
        for slot_id, names in users(slot_ids).items():
            found[slot_id] += names
    return found


def on_prepare(preparation: Preparation) -> None:
    """Run ``preparation`` whenever an installation is prepared, after the routes."""
    _PREPARATIONS.append(preparation)


def prepare() -> None:
    """Run what the apps above prepare. Raises: KheishError."""
    for preparation in _PREPARATIONS:
        preparation()
