"""What the parts of the engine pass around while one worker drives one run."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sessions_app.models import Run
from sessions_app.services import journal, leases
from sessions_app.services.heartbeat import Hold
from sessions_app.services.writes import Entry, Lease


class Phase(Enum):
    """What a run needs next, read from its rows when a worker takes it."""

    MODEL = "model"
    TOOLS = "tools"


class Outcome(Enum):
    """What one phase came to: the run goes on, or it has left the worker (ended or waits)."""

    CONTINUE = "continue"
    LEFT = "left"


@dataclass(kw_only=True)
class Turn:
    """One run in the hands of one worker.

    ``attempt`` is the number of the step's next call to a model, whatever route it goes to. ``released`` is
    set when the lease went back with a commit or is to run out, ``fresh`` until the first phase began.
    """

    run: Run
    lease: Lease
    hold: Hold
    phase: Phase
    attempt: int = 1
    released: bool = False
    fresh: bool = True

    @property
    def session_id(self) -> str:
        """The public id of the run's session."""
        return self.run.session.session_id

    @property
    def lease_seconds(self) -> float:
        """How long each commit renews the lease for."""
        return leases.lease_seconds()

    def entry(self, kind: str, payload: dict[str, Any]) -> Entry:
        """Return a journal entry of the run, for a commit to come."""
        return journal.entry(self.session_id, kind, payload, run=self.run)

    def append(self, *entries: Entry) -> None:
        """Journal ``entries`` under the lease; joins an open transaction. Raises: LeaseLost."""
        journal.append(self.run.session_id, *entries, lease=self.lease, lease_seconds=self.lease_seconds)
