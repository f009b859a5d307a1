"""The files of a delivery, for the sidecar that delivers it, while it does."""

from dataclasses import dataclass
from typing import Final

from connectors_app.models import Connector
from kheish_site.lib.errors import NotFound

DOMAIN: Final = "connector_ingress"


class AssetNotOnItsWay(NotFound):
    """No delivery of this connector that still waits or leaves names this asset."""

    code, domain = "delivery_asset_not_found", DOMAIN


@dataclass(frozen=True, kw_only=True)
class File:
    """The bytes of an asset and what they are."""

    data: bytes
    media_type: str
    file_name: str


def of_delivery(connector: Connector, delivery_id: str, asset_id: str) -> File:
    """Return an asset of a delivery on its way through this connector. Raises: AssetNotOnItsWay."""
    raise AssetNotOnItsWay("no delivery on its way through this connector names this asset")
