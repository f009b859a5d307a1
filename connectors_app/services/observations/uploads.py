"""One upload becomes one observation, however often it is sent."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from connectors_app.models import Observation, ObservationSource
from connectors_app.services.observations import stored
from connectors_app.services.observations.sources import SourceDisabled, SourceMissing
from kheish_site.lib import clock
from kheish_site.lib.canonical import digest, sha256_hex
from kheish_site.lib.clock import rfc3339
from kheish_site.lib.errors import Conflict, NotFound, RateLimited
from kheish_site.lib.ids import new_id
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import locked, write
from sessions_app.services.asset_types import AssetType, clean_name
from sessions_app.services.assets import OpenedFile

logger = logging.getLogger(__name__)


class ObservationMissing(NotFound):
    """No such observation."""

    code, domain = "observation_not_found", "observations"


class ObservationConflict(Conflict):
    """The key was used for another upload of this source."""

    code, domain = "observation_conflict", "observations"


class Burst(RateLimited):
    """The source has sent as much as it may in this window."""

    domain = "observations"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What a device sends. ``captured_at`` is the device's time; without it the time of receipt counts."""

    key: str
    media_type: str
    data: bytes = field(repr=False)
    file_name: str = ""
    stream_id: str = ""
    capture_group_id: str = ""
    captured_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def accept(source: ObservationSource, upload: Upload) -> tuple[Observation, bool]:
    """Store an upload; return its observation, and whether it was there already.

    Joins no open transaction: it first opens the file, which may take seconds. Raises: TypeRefused,
    ObservationConflict (same key, other content), SourceDisabled, Burst, and what ``assets`` raises for
    content that is too large or broken.
    """
    known = stored.type_of(source.kind, upload.data, media_type=upload.media_type, file_name=upload.file_name)
    fingerprint = _fingerprint(upload, known.media_type, sha256_hex(upload.data))
    first = _first(source, upload.key, fingerprint)
    if first is not None:
        return first, True
    _check_open(source, clock.now())  # before the costly work; checked again under the lock
    prepared = stored.open_file(upload.data, known)
    with write():
        # One upload of a source at a time, so that the burst is counted exactly and a key is taken once.
        row = locked(ObservationSource.objects.filter(pk=source.pk)).first()
        if row is None:
            raise SourceMissing(f"there is no observation source {source.source_id}")
        first = _first(row, upload.key, fingerprint)
        if first is not None:
            return first, True
        now = clock.now()
        _check_open(row, now)
        observation = _insert(row, upload, prepared, known=known, fingerprint=fingerprint, now=now)
    logger.info(
        "observation received",
        extra={
            "action": "observations.upload",
            "source_id": row.source_id,
            "observation_id": observation.observation_id,
            "size_bytes": observation.size_bytes,
        },
    )
    return observation, False


def get(observation_id: str) -> Observation:
    """Return one observation, purged ones too. Raises: ObservationMissing."""
    found = rows().filter(observation_id=observation_id).first()
    if found is None:
        raise ObservationMissing(f"there is no observation {observation_id}")
    return found


def listing(source: ObservationSource, *, include_purged: bool = False) -> QuerySet[Observation]:
    """Return the observations of a source."""
    found = rows().filter(source=source)
    return found if include_purged else found.filter(purged_at__isnull=True)


def rows() -> QuerySet[Observation]:
    """Return observations with what their views need."""
    return Observation.objects.select_related("source", "asset")


def _first(source: ObservationSource, key: str, fingerprint: str) -> Observation | None:
    """Return what an earlier upload under this key made. Raises: ObservationConflict."""
    first = rows().filter(source=source, key=key).first()
    if first is not None and first.fingerprint != fingerprint:
        raise ObservationConflict("this key was used for another upload", observation_id=first.observation_id)
    return first


def _check_open(source: ObservationSource, now: datetime) -> None:
    if source.disabled_at is not None:
        raise SourceDisabled(f"the observation source {source.source_id} is disabled")
    window = timedelta(seconds=source.burst_seconds)
    recent = Observation.objects.filter(source=source, received_at__gt=now - window)
    newest = list(recent.order_by("-received_at").values_list("received_at", flat=True)[: source.burst_count])
    if len(newest) >= source.burst_count:
        wait = (newest[-1] + window - now).total_seconds()
        raise Burst(
            f"{source.source_id} may send {source.burst_count} observations in {source.burst_seconds} s",
            retry_after_seconds=max(wait, 1),
        )


def _insert(
    source: ObservationSource,
    upload: Upload,
    prepared: OpenedFile,
    *,
    known: AssetType,
    fingerprint: str,
    now: datetime,
) -> Observation:
    observation_id = new_id("obs")
    return Observation.objects.create(
        observation_id=observation_id,
        source=source,
        key=upload.key,
        fingerprint=fingerprint,
        asset=stored.keep(prepared, observation_id, source_id=source.source_id),
        media_type=prepared.media_type,
        file_name=redact(clean_name(upload.file_name, known)),
        sha256=prepared.sha256,
        size_bytes=len(prepared.content),
        stream_id=upload.stream_id,
        capture_group_id=upload.capture_group_id,
        metadata=redact(dict(upload.metadata)),
        captured_at=upload.captured_at or now,
        received_at=now,
    )


def _fingerprint(upload: Upload, media_type: str, sha256: str) -> str:
    """Return the digest that equal uploads share; it leaves out the time of receipt."""
    return digest(
        {
            "sha256": sha256,
            "media_type": media_type,
            "file_name": upload.file_name,
            "stream_id": upload.stream_id,
            "capture_group_id": upload.capture_group_id,
            "captured_at": rfc3339(upload.captured_at),
            "metadata": dict(upload.metadata),
        }
    )
