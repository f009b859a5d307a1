"""Assets as clients see them."""

from collections.abc import Iterable

from kheish_site.lib.redaction import redact
from sessions_app.models import Asset, AssetReference
from sessions_app.services.projections.shape import View, known, time


def asset_view(row: Asset) -> View:
    """Return one asset, without its bytes."""
    address = f"/v1/assets/{row.asset_id}"
    text = {
        "text_uri": f"{address}/text",
        "text_sha256": row.text_sha256,
        "text_size_bytes": row.text_size_bytes,
    }
    return {
        "asset_id": row.asset_id,
        "media_type": row.media_type,
        "file_name": redact(row.file_name),
        "sha256": row.sha256,
        "size_bytes": row.size_bytes,
        "uri": f"{address}/raw",
        **(text if row.text_sha256 else {}),
        **known(text_note=row.text_note or None, image_width=row.image_width, image_height=row.image_height),
        "created_by": row.created_by,
        "created_at": time(row.created_at),
    }


def asset_views(rows: Iterable[Asset]) -> list[View]:
    """Return the assets in the order given."""
    return [asset_view(row) for row in rows]


def reference_view(row: AssetReference) -> View:
    """Return who uses an asset."""
    return {
        "domain": row.domain,
        "owner_id": row.owner_id,
        **known(parent_id=row.parent_id or None),
        "role": row.role,
        "hard": row.hard,
        "created_at": time(row.created_at),
    }
