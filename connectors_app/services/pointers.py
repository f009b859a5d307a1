"""What still points at a connector: a session's default reply targets, and the targets of schedules.

Defaults go with the connector, so that a new one under its name gets no answers unasked. A schedule was made
to answer there, so it keeps the connector from being removed until somebody changes it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from connectors_app.models import Connector, MaterializationSchedule
from connectors_app.services import handles
from sessions_app.models import Session
from sessions_app.services import reply_targets
from sessions_app.services.principal import SYSTEM

_BATCH: Final = 200
_MOST_NAMED: Final = 20


def schedules_of(connector: Connector) -> list[str]:
    """Return schedules that answer through ``connector``, at most 20."""
    rows = MaterializationSchedule.objects.order_by("pk").values_list("schedule_id", "options")
    found = [
        schedule_id
        for schedule_id, options in rows.iterator(chunk_size=_BATCH)
        if any(handles.goes_through(handle, connector) for handle in options.get("reply_targets", ()))
    ]
    return found[:_MOST_NAMED]


def withdraw(connector: Connector) -> int:
    """Take ``connector`` from the defaults of all sessions, pinned ones too; return how many had it.

    Outside a transaction each session is changed in one of its own, and a call cut short can be repeated.
    """

    def is_gone(handle: Mapping[str, Any]) -> bool:
        return handles.goes_through(handle, connector)

    cause = {"reason": f"the connector {connector} was removed", "connector": str(connector)}
    return sum(
        reply_targets.withdraw(session_id, is_gone, cause=cause, principal=SYSTEM)
        for session_id, targets in _defaults()
        if any(map(is_gone, targets))
    )


def _defaults() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield sessions that have defaults, read in batches so that no cursor stays open across a change."""
    last = 0
    while True:
        rows = Session.objects.filter(pk__gt=last).exclude(reply_targets=[]).order_by("pk")
        batch = list(rows.values_list("pk", "session_id", "reply_targets")[:_BATCH])
        yield from ((session_id, targets) for _, session_id, targets in batch)
        if len(batch) < _BATCH:
            return
        last = batch[-1][0]
