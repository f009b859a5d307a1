"""The journal entries of deliveries: what was queued for which target, and what came of it."""

from collections.abc import Mapping
from typing import Any, Final

from connectors_app.models import Delivery, DeliveryStatus
from sessions_app.services import journal
from sessions_app.services.writes import Entry

_KINDS: Final[Mapping[str, str]] = {
    DeliveryStatus.PENDING: "delivery.queued",
    DeliveryStatus.DELIVERED: "delivery.sent",
    DeliveryStatus.RETRYING: "delivery.failed",
    DeliveryStatus.DEAD_LETTERED: "delivery.dead_lettered",
    DeliveryStatus.UNKNOWN: "delivery.unknown",
}


def entry(delivery: Delivery, to: str, **more: Any) -> Entry:
    """Return the entry for ``delivery`` becoming ``to``. It names the target, never the address."""
    return _entry(delivery, _KINDS[to], more)


def decided(delivery: Delivery, **more: Any) -> Entry:
    """Return the entry for what a person decided about ``delivery``."""
    return _entry(delivery, "delivery.decided", more)


def _entry(delivery: Delivery, kind: str, more: Mapping[str, Any]) -> Entry:
    payload = {"delivery_id": delivery.delivery_id, "target": delivery.target.name, **more}
    return journal.entry(delivery.session.session_id, kind, payload, run=delivery.run)
