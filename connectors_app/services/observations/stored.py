"""The content of observations: assets of the core, stored once by digest, kept while needed."""

from collections.abc import Iterable
from typing import Final

from connectors_app.models import ObservationKind
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import require_transaction
from sessions_app.models import Asset
from sessions_app.services import asset_types, assets
from sessions_app.services.asset_types import AssetType
from sessions_app.services.assets import OpenedFile

DOMAIN: Final = "observations"
_TEXTS: Final = ("text/plain", "text/markdown", "text/csv", "application/json")
_IMAGES: Final = ("image/png", "image/jpeg")
MEDIA_TYPES: Final[dict[str, tuple[str, ...]]] = {
    ObservationKind.SCREEN_SNAPSHOT: _IMAGES,
    ObservationKind.WEBCAM_SNAPSHOT: _IMAGES,
    ObservationKind.MICROPHONE_SEGMENT: ("audio/wav", "audio/webm"),
    ObservationKind.TEXT_SNAPSHOT: _TEXTS,
    ObservationKind.DOCUMENT: ("application/pdf", *_TEXTS),
}


class TypeRefused(KheishError):
    """The source does not send this type."""

    code, domain, status = "observation_type_refused", DOMAIN, 415


def type_of(kind: str, data: bytes, *, media_type: str, file_name: str) -> AssetType:
    """Return what ``data`` is. Cheap: the file is not opened.

    Raises: TypeRefused, and what ``asset_types.judge`` raises for content of another type than stated.
    """
    known, accepted = asset_types.judge(data, media_type, file_name), MEDIA_TYPES[kind]
    if known.media_type not in accepted:
        raise TypeRefused(f"a {kind} is one of {', '.join(accepted)}", accepted=list(accepted))
    return known


def open_file(data: bytes, known: AssetType) -> OpenedFile:
    """Check the whole file, which may take seconds: call it outside a transaction. Raises: as assets do.

    The asset does not get the device's file name: it would be shown wherever the asset is.
    """
    return assets.prepare(data, media_type=known.media_type, file_name="")


def keep(prepared: OpenedFile, observation_id: str, *, source_id: str) -> Asset:
    """Store the file of an observation. Needs the transaction that makes the observation."""
    require_transaction()
    asset = assets.keep(prepared, principal=f"observation:{source_id}")
    assets.refer([asset], domain=DOMAIN, owner_id=observation_id, parent_id=source_id, role="content")
    return asset


def has_words(asset: Asset) -> bool:
    """Tell whether the file is text, which enters the journal of a run that is given it."""
    return bool(asset.text_sha256)


def let_go(observation_ids: Iterable[str]) -> None:
    """Release the files of these observations. Needs the transaction that purges or deletes them."""
    assets.release(DOMAIN, list(observation_ids))
