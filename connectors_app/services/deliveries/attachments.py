"""Stored assets as what goes with a message."""

from connectors_app.models import Delivery
from connectors_app.services.contracts import Attachment, Refused


def of(delivery: Delivery) -> tuple[Attachment, ...]:
    """Return the attachments of ``delivery``, in order. Raises: Refused (an asset is gone)."""
    return tuple(_load(asset_id) for asset_id in delivery.attachments)


def _load(asset_id: str) -> Attachment:
    raise Refused("terminal", f"the attachment {asset_id} does not exist")
