"""Stored assets as what goes with a message."""

from collections.abc import Iterable

from connectors_app.models import Delivery
from connectors_app.services.contracts import Attachment, Refused


def of(delivery: Delivery) -> tuple[Attachment, ...]:
    """Return the attachments of ``delivery``, in order, each once. Raises: Refused (an asset is gone)."""
    return tuple(_load(asset_id) for asset_id in named(delivery))


def named(delivery: Delivery) -> list[str]:
    """Return the ids of the assets that ``delivery`` names: its attachments, then those of its parts."""
    parts: Iterable[str] = (str(part["asset_id"]) for part in delivery.parts if part.get("asset_id"))
    return list(dict.fromkeys([*delivery.attachments, *parts]))


def _load(asset_id: str) -> Attachment:
    raise Refused("terminal", f"the attachment {asset_id} does not exist")
