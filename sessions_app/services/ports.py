"""Ports of the core: what the apps above it may hang in, in ``AppConfig.ready``, and the core calls.

The core knows none of them. With nothing registered it runs as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sessions_app.models import Run


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

_BACKGROUND: list[Callable[[], Background]] = []
_OUTPUTS: list[OutputListener] = []


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
