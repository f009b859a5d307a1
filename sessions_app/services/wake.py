"""The port through which services wake readers and workers. See ``services/doorbell``.

Rings wait for the commit (``after_commit``) and never fail it: losing one costs time, never state.
Live text, which no commit waits for, goes through a ``doorbell.relay.DeltaRelay`` instead.
"""

from kheish_site.lib.transactions import after_commit
from sessions_app.services.doorbell.bells import bell


def ring_readers(session_pk: int, seq: int) -> None:
    """After the commit, tell streams that the session's journal has reached ``seq``."""
    after_commit(lambda: bell().ring_readers(session_pk, seq))


def ring_workers(session_pk: int) -> None:
    """After the commit, ask for a worker to drive the session."""
    after_commit(lambda: bell().ring_workers(session_pk))
