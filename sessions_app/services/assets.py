"""Assets: files that came in, stored once under their hash, kept as long as something refers to them.

``prepare`` opens a file and takes its time; ``keep`` stores what it found and is quick. Whoever stores,
refers to or deletes an asset holds it (``hold``) until the transaction ends, so no reference is ever made
to what is being deleted.
"""

import base64
import binascii
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import Conflict, NotFound, PayloadTooLarge
from kheish_site.lib.ids import new_id
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import exclusive, require_transaction, write
from sessions_app.models import Asset, AssetBlob, AssetReference
from sessions_app.services import asset_images, asset_text, asset_types

logger = logging.getLogger(__name__)
BATCH: Final = 100
_SLACK: Final = 8_192  # characters


class AssetMissing(NotFound):
    """No such asset, or it was deleted."""

    code, domain = "asset_not_found", "assets"


class AssetTooLarge(PayloadTooLarge):
    """The file is larger than ``KHEISH_MAX_ASSET_BYTES``."""

    code, domain = "asset_too_large", "assets"


class DeleteBlocked(Conflict):
    """Something cannot do without the asset."""

    code, domain = "asset_delete_blocked", "assets"


class IntegrityMismatch(Conflict):
    """The stored bytes are not those that came in."""

    code, domain = "asset_integrity_mismatch", "assets"


class TextMissing(NotFound):
    """The asset has no text."""

    code, domain = "asset_text_not_found", "assets"


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A file that was opened and found good, and what was derived from it; nothing is stored yet."""

    content: bytes
    sha256: str
    media_type: str
    file_name: str
    text: bytes | None = None
    text_note: str = ""
    view: bytes = b""
    view_media_type: str = ""
    width: int | None = None
    height: int | None = None

    @cached_property
    def text_sha256(self) -> str:
        """The hash of the derived text, or ""."""
        return sha256_hex(self.text) if self.text else ""

    @cached_property
    def view_sha256(self) -> str:
        """The hash of the smaller image, or ""."""
        return sha256_hex(self.view) if self.view else ""

    @property
    def size_bytes(self) -> int:
        """How large the file is."""
        return len(self.content)

    @property
    def hashes(self) -> set[str]:
        """Everything that is stored for it, for ``hold``."""
        return {self.sha256, self.text_sha256, self.view_sha256} - {""}


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Assets that were forgotten, or would be."""

    asset_ids: list[str]
    size_bytes: int


def prepare(data: bytes, *, media_type: str, file_name: str) -> OpenedFile:
    """Check a file and derive what is derived from its kind. Touches no row.

    A document or an image is opened in a process of its own, which may take ``asset_child.WALL_SECONDS``:
    call this outside a transaction. An empty media type is found out.
    Raises: AssetTooLarge, ContentInvalid, TypeUnsupported, TypeMismatch, ImageBroken, ImageTooLarge,
    Unavailable.
    """
    limit = settings.KHEISH.max_asset_bytes
    if len(data) > limit:
        raise AssetTooLarge(f"the file has {len(data)} bytes; {limit} are accepted")
    known = asset_types.judge(data, media_type, file_name)
    derived = asset_text.derive(data, known)
    seen = asset_images.measure(data, known) if known.kind == "image" else None
    return OpenedFile(
        content=data,
        sha256=sha256_hex(data),
        media_type=known.media_type,
        file_name=str(redact(asset_types.clean_name(file_name, known))),
        text=derived.content,
        text_note=derived.note,
        view=seen.view if seen else b"",
        view_media_type=seen.view_media_type if seen else "",
        width=seen.width if seen else None,
        height=seen.height if seen else None,
    )


def from_base64(text: str) -> bytes:
    """Return the bytes of standard Base64, with padding. Raises: ContentInvalid, AssetTooLarge."""
    limit = settings.KHEISH.max_asset_bytes
    if len(text) * 3 // 4 > limit + 2:
        raise AssetTooLarge(f"the file has more than the {limit} bytes that are accepted")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise asset_types.ContentInvalid("content_base64 is not Base64") from None


def store(data: bytes, *, media_type: str, file_name: str, principal: str) -> Asset:
    """Store a file, or find it again: the same content of the same type is one asset.

    Joins an open transaction, which then waits for ``prepare``. Raises: what ``prepare`` raises.
    """
    return keep(prepare(data, media_type=media_type, file_name=file_name), principal=principal)


def keep(prepared: OpenedFile, *, principal: str) -> Asset:
    """Store what was prepared, or find it again. Joins an open transaction."""
    with write():
        hold(prepared.hashes)
        asset = Asset.objects.filter(
            sha256=prepared.sha256, media_type=prepared.media_type, deleted_at=None
        ).first()
        if asset is not None:
            asset.touched_at = clock.now()
            asset.save(update_fields=["touched_at"])
            return asset
        asset = _insert(prepared, principal)
    logger.info(
        "asset stored",
        extra={"action": "assets.store", "asset_id": asset.asset_id, "size_bytes": asset.size_bytes},
    )
    return asset


def hold(hashes: Iterable[str]) -> None:
    """Lock assets by their content until the transaction ends: nobody else stores or deletes them meanwhile.

    Needs an open transaction. Name all at once: they are locked in one order, so that two transactions never
    wait for each other.
    """
    require_transaction()
    for sha256 in sorted(set(hashes)):
        exclusive(f"asset.{sha256}")


def hashes_of(asset: Asset) -> set[str]:
    """Return everything that is stored for ``asset``, for ``hold``."""
    return {asset.sha256, asset.text_sha256, asset.view_sha256} - {""}


def get(asset_id: str) -> Asset:
    """Return the asset. Raises: AssetMissing."""
    return get_many([asset_id])[asset_id]


def get_many(asset_ids: Iterable[str]) -> dict[str, Asset]:
    """Return assets by id with one query. Raises: AssetMissing (the first that is not there)."""
    wanted = list(asset_ids)
    found = {row.asset_id: row for row in everything().filter(asset_id__in=set(wanted))}
    for asset_id in wanted:
        if asset_id not in found:
            raise AssetMissing(f"there is no asset {asset_id[:60]}", asset_id=asset_id[:60])
    return found


def everything() -> QuerySet[Asset]:
    """Return all assets that are not deleted."""
    return Asset.objects.filter(deleted_at=None)


def read(asset: Asset) -> bytes:
    """Return the file, its hash verified. Raises: IntegrityMismatch."""
    return _blob(asset, asset.sha256)


def text(asset: Asset) -> str | None:
    """Return the text derived from the file, None when it has none. Raises: IntegrityMismatch."""
    if not asset.text_sha256:
        return None
    return _blob(asset, asset.text_sha256).decode("utf-8", "replace")


def clipped(words: str, limit: int) -> str:
    """Return the beginning of a text, redacted; a secret across the end is masked, not cut in half."""
    return str(redact(words[: limit + _SLACK]))[:limit]


def image_for_model(asset: Asset) -> tuple[str, bytes]:
    """Return media type and bytes of the image as a model is sent it: upright and of bounded size when it was
    large, else the file. Raises: IntegrityMismatch.
    """
    if asset.view_sha256:
        return asset.view_media_type, _blob(asset, asset.view_sha256)
    return asset.media_type, read(asset)


def references(asset: Asset) -> QuerySet[AssetReference]:
    """Return who uses the asset, oldest first."""
    return asset.references.all()


def count_references(asset: Asset) -> tuple[int, int]:
    """Return how many hard and how many soft references there are."""
    counted = dict(asset.references.order_by().values_list("hard").annotate(Count("pk")))
    return counted.get(True, 0), counted.get(False, 0)


def refer(assets: Iterable[Asset], *, domain: str, owner_id: str, parent_id: str = "", role: str) -> None:
    """Note that an owner uses ``assets`` and cannot do without them.

    Needs the transaction that makes the owner, with the assets held in it.
    """
    require_transaction()
    now = clock.now()
    rows = [
        AssetReference(
            asset=asset, domain=domain, owner_id=owner_id, parent_id=parent_id, role=role, created_at=now
        )
        for asset in {asset.pk: asset for asset in assets}.values()
    ]
    AssetReference.objects.bulk_create(rows)


def release(domain: str, owner_ids: Iterable[str]) -> int:
    """Forget what these owners used, because they go. Needs their transaction."""
    require_transaction()
    return AssetReference.objects.filter(domain=domain, owner_id__in=list(owner_ids)).delete()[0]


def delete(asset_id: str, *, principal: str, dry_run: bool = False) -> Asset:
    """Delete the bytes and leave a tombstone; soft references go too. ``dry_run`` only says whether it would.

    Raises: AssetMissing, DeleteBlocked.
    """
    with write():
        hold(hashes_of(get(asset_id)))
        asset = get(asset_id)
        holders = [item for item in references(asset) if item.hard]
        if holders:
            raise DeleteBlocked(
                f"{len(holders)} still use this asset",
                hard_reference_count=len(holders),
                references=[{"domain": item.domain, "owner_id": item.owner_id} for item in holders[:20]],
            )
        if not dry_run:
            _bury(asset, principal)
    if not dry_run:
        logger.info("asset deleted", extra={"action": "assets.delete", "asset_id": asset_id})
    return asset


def gc(*, dry_run: bool, principal: str = "system") -> Collected:
    """Forget assets that nothing has referred to for ``KHEISH_KEEP_UNUSED_ASSETS_DAYS``, a bounded batch.

    Each in its own transaction. Zero days keeps everything.
    """
    days = settings.KHEISH.keep_unused_assets_days
    if not days:
        return Collected(asset_ids=[], size_bytes=0)
    before = clock.now() - timedelta(days=days)
    gone = list(_unused(before).order_by("touched_at")[:BATCH])
    if not dry_run:
        gone = [asset for asset in gone if _forget(asset, before, principal)]
    return Collected(
        asset_ids=[asset.asset_id for asset in gone], size_bytes=sum(asset.size_bytes for asset in gone)
    )


def _insert(prepared: OpenedFile, principal: str) -> Asset:
    now = clock.now()
    for sha256, content in (
        (prepared.sha256, prepared.content),
        (prepared.text_sha256, prepared.text or b""),
        (prepared.view_sha256, prepared.view),
    ):
        if sha256 and not AssetBlob.objects.filter(sha256=sha256).exists():
            AssetBlob.objects.create(sha256=sha256, content=content, size_bytes=len(content), created_at=now)
    return Asset.objects.create(
        asset_id=new_id("asset"),
        media_type=prepared.media_type,
        file_name=prepared.file_name,
        sha256=prepared.sha256,
        size_bytes=prepared.size_bytes,
        text_sha256=prepared.text_sha256,
        text_size_bytes=len(prepared.text or b""),
        text_note=prepared.text_note[:200],
        view_sha256=prepared.view_sha256,
        view_media_type=prepared.view_media_type,
        image_width=prepared.width,
        image_height=prepared.height,
        created_by=principal[:200],
        created_at=now,
        touched_at=now,
    )


def _blob(asset: Asset, sha256: str) -> bytes:
    row = AssetBlob.objects.filter(sha256=sha256).first()
    content = bytes(row.content) if row is not None else b""
    if row is None or sha256_hex(content) != sha256:
        logger.error("asset broken", extra={"action": "assets.read", "asset_id": asset.asset_id})
        raise IntegrityMismatch(
            "the stored bytes are not those that came in; restore them from a backup", asset_id=asset.asset_id
        )
    return content


def _unused(before: datetime) -> QuerySet[Asset]:
    used = AssetReference.objects.filter(asset=OuterRef("pk"))
    return everything().filter(~Exists(used), touched_at__lt=before)


def _forget(asset: Asset, before: datetime, principal: str) -> bool:
    """Delete one asset unless somebody used or stored it again since it was found."""
    with write():
        hold(hashes_of(asset))
        still = _unused(before).filter(pk=asset.pk).first()
        if still is None:
            return False
        _bury(still, principal)
    logger.info("asset forgotten", extra={"action": "assets.gc", "asset_id": asset.asset_id})
    return True


def _bury(asset: Asset, principal: str) -> None:
    """Turn the asset into a tombstone and drop the blobs that nothing else names. Needs it held."""
    asset.references.all().delete()
    asset.deleted_at, asset.deleted_by = clock.now(), principal[:200]
    asset.save(update_fields=["deleted_at", "deleted_by"])
    for sha256 in hashes_of(asset):
        named = Q(sha256=sha256) | Q(text_sha256=sha256) | Q(view_sha256=sha256)
        if not everything().filter(named).exists():
            AssetBlob.objects.filter(sha256=sha256).delete()
