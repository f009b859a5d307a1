"""The delivery's state machine: every edge, and the one function that moves a delivery along one.

pending ─▶ sending ─▶ delivered | dead_lettered
              ├─▶ retrying ─▶ sending
              └─▶ unknown ─▶ delivered | dead_lettered (a person decides)

``sending`` commits before the request leaves. A delivery found sending under a dead lease is sent again
where the target honours keys, and is unknown elsewhere. A dead letter is final: its replay is a new delivery.
"""

from collections.abc import Mapping
from typing import Any, Final

from connectors_app.models import WAITING_TO_LEAVE, Delivery, DeliveryStatus
from kheish_site.lib import clock
from kheish_site.lib.errors import Conflict
from kheish_site.lib.prepared import update
from kheish_site.lib.transactions import require_transaction

STATUS = DeliveryStatus

EDGES: Final[Mapping[DeliveryStatus, frozenset[DeliveryStatus]]] = {
    STATUS.PENDING: frozenset({STATUS.SENDING}),
    # SENDING -> SENDING: its sender died, and the target recognises a repeat.
    STATUS.SENDING: frozenset(
        {STATUS.SENDING, STATUS.RETRYING, STATUS.DELIVERED, STATUS.DEAD_LETTERED, STATUS.UNKNOWN}
    ),
    STATUS.RETRYING: frozenset({STATUS.SENDING}),
    STATUS.UNKNOWN: frozenset({STATUS.DELIVERED, STATUS.DEAD_LETTERED}),
    STATUS.DELIVERED: frozenset(),
    STATUS.DEAD_LETTERED: frozenset(),
}


class IllegalDelivery(Conflict):
    """The delivery is not in a state that allows this."""

    code, domain = "delivery_state_conflict", "deliveries"


def advance(delivery: Delivery, to: DeliveryStatus, **fields: Any) -> None:
    """Move one delivery along one edge, guarded by the state it was read in. Needs an open transaction.

    A delivery that leaves the queue is settled. Raises: IllegalDelivery (no such edge, or it moved first).
    """
    require_transaction()
    was = DeliveryStatus(delivery.status)
    if to not in EDGES[was]:
        raise IllegalDelivery(f"a {was} delivery cannot become {to}", delivery_id=delivery.delivery_id)
    if to not in WAITING_TO_LEAVE:
        fields |= {"settled_at": clock.now(), "next_attempt_at": None}
    if not update(delivery, {"status": to, **fields}, where={"status": was}):
        raise IllegalDelivery(f"the delivery is no longer {was}", delivery_id=delivery.delivery_id)
