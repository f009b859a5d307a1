"""The files of a delivery, readable by the sidecar that delivers it until it is settled."""

from dataclasses import dataclass
from typing import Final

from connectors_app.models import WAITING_TO_LEAVE, Connector, Delivery
from connectors_app.services.deliveries import attachments
from kheish_site.lib.errors import NotFound
from sessions_app.services import assets

DOMAIN: Final = "connector_ingress"


class AssetNotOnItsWay(NotFound):
    """No unsettled delivery of this connector names this asset."""

    code, domain = "delivery_asset_not_found", DOMAIN


@dataclass(frozen=True, kw_only=True)
class File:
    """The bytes of an asset, with their type and name."""

    data: bytes
    media_type: str
    file_name: str


def of_delivery(connector: Connector, delivery_id: str, asset_id: str) -> File:
    """Return an asset of a delivery on its way through this connector. Raises: AssetNotOnItsWay."""
    delivery = (
        Delivery.objects.select_related("run")
        .filter(
            delivery_id=delivery_id,
            status__in=sorted(WAITING_TO_LEAVE),
            target__plugin=connector.kind,
            target__connector_name=connector.name,
        )
        .first()
    )
    if delivery is None or asset_id not in delivery.attachments:
        raise AssetNotOnItsWay("no delivery on its way through this connector names this asset")
    try:
        asset = assets.get(asset_id)
    except NotFound as error:
        raise AssetNotOnItsWay("the asset of this delivery is gone") from error
    name = attachments.names_of(delivery).get(asset_id) or asset.file_name
    return File(data=assets.read(asset), media_type=asset.media_type, file_name=name)
