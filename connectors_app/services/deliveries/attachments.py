"""The stored assets that go with a message."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from connectors_app.models import Delivery
from connectors_app.services.contracts import Attachment, Refused
from kheish_site.lib.errors import NotFound
from sessions_app.models import Asset
from sessions_app.services import assets

DOMAIN: Final = "delivery"
"""The domain of the references that keep assets for deliveries; their owner is the delivery's id."""


def of(delivery: Delivery) -> tuple[Attachment, ...]:
    """Return the attachments of ``delivery``, in order, each under the name its run gave it.

    Raises: Refused (an asset is gone).
    """
    if not delivery.attachments:
        return ()
    try:
        found = assets.get_many(delivery.attachments)
    except NotFound as error:
        raise Refused("terminal", error.detail) from error
    names = names_of(delivery)
    return tuple(_attachment(found[asset_id], names.get(asset_id, "")) for asset_id in delivery.attachments)


def names_of(delivery: Delivery) -> dict[str, str]:
    """Return the names the run gave its files, by asset: the asset itself keeps the first name it had."""
    outputs = delivery.run.outputs if delivery.run is not None else []
    files = [file for output in outputs for file in output.get("files", ())]
    return {file["asset_id"]: file["file_name"] for file in files}


def hold(asset_ids: Collection[str]) -> None:
    """Lock the assets a message will refer to. Needs an open transaction that has locked no target yet."""
    if not asset_ids:
        return
    found = assets.everything().filter(asset_id__in=asset_ids)
    assets.hold(sha256 for asset in found for sha256 in assets.hashes_of(asset))


def refer(deliveries: Sequence[Delivery]) -> None:
    """Keep the assets as long as the new deliveries that name them.

    Needs the transaction that makes the deliveries, with the assets held in it.
    """
    wanted = {asset_id for delivery in deliveries for asset_id in delivery.attachments}
    if not wanted:
        return
    found = {row.asset_id: row for row in assets.everything().filter(asset_id__in=wanted)}
    for delivery in deliveries:
        assets.refer(
            [found[asset_id] for asset_id in delivery.attachments if asset_id in found],
            domain=DOMAIN,
            owner_id=delivery.delivery_id,
            parent_id=delivery.session.session_id,
            role="attachment",
        )


def _attachment(asset: Asset, name: str) -> Attachment:
    return Attachment(
        asset_id=asset.asset_id,
        media_type=asset.media_type,
        file_name=name or asset.file_name,
        sha256=asset.sha256,
        size_bytes=asset.size_bytes,
        read=partial(assets.read, asset),
    )
