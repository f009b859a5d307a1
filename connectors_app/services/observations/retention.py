"""How long, how many and how large the kept observations of a source are. Purging keeps the row.

The bytes belong to the core, which collects an asset that nothing names any more.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings

from connectors_app.models import Observation, ObservationSource, PurgeReason
from connectors_app.services.observations import stored
from connectors_app.services.observations.uploads import get
from kheish_site.lib import clock
from kheish_site.lib.errors import Conflict
from kheish_site.lib.in_turn import each
from kheish_site.lib.transactions import locked, write

logger = logging.getLogger(__name__)
BATCH: Final = 500


class PurgeRefused(Conflict):
    """The source keeps its observations until their time is over."""

    code, domain = "observation_purge_refused", "observations"


def purge() -> int:
    """Purge the observations past their source's rules, and delete rows purged long ago; return how many."""
    now = clock.now()
    sources = ObservationSource.objects.iterator()
    gone = each(sources, lambda source: purge_source(source, now), action="observations.purge")
    forgotten = _forget(now)
    if gone or forgotten:
        logger.info(
            "observations purged",
            extra={"action": "observations.purge", "purged": gone, "forgotten": forgotten},
        )
    return gone + forgotten


def purge_source(source: ObservationSource, now: datetime) -> int:
    """Apply the three rules of one source, keeping the newest; return how many observations went."""
    oldest = now - timedelta(days=source.retention_days)
    kept = Observation.objects.filter(source=source, purged_at__isnull=True).order_by("-id")
    doomed: dict[str, list[int]] = {PurgeReason.AGE: [], PurgeReason.COUNT: [], PurgeReason.BYTES: []}
    # Doomed rows are counted too, so that everything older than the first one goes.
    size = 0
    for count, (pk, received_at, size_bytes) in enumerate(
        kept.values_list("pk", "received_at", "size_bytes").iterator(), start=1
    ):
        size += size_bytes
        reason = _reason(source, received_at, oldest, count, size)
        if reason is not None:
            doomed[reason].append(pk)
    return sum(_drop(pks, reason, now) for reason, pks in doomed.items())


def purge_one(observation_id: str, *, principal: str) -> Observation:
    """Purge one observation before its time; a repeat changes nothing.

    Raises: ObservationMissing, PurgeRefused unless the source allows it.
    """
    observation = get(observation_id)
    if not observation.source.allow_raw_purge:
        raise PurgeRefused(f"{observation.source.source_id} keeps what it has until its time is over")
    if _drop([observation.pk], PurgeReason.REQUEST, clock.now()):
        extra = {"action": "observations.purge_one", "observation_id": observation_id, "principal": principal}
        logger.info("observation purged", extra=extra)
    return get(observation_id)


def _reason(
    source: ObservationSource, received_at: datetime, oldest: datetime, count: int, size: int
) -> str | None:
    """Return the rule that the ``count``-th newest breaks; with it there would be ``size`` bytes."""
    if received_at < oldest:
        return PurgeReason.AGE
    if count > source.retention_count:
        return PurgeReason.COUNT
    return PurgeReason.BYTES if size > source.retention_bytes else None


def _drop(pks: list[int], reason: str, now: datetime) -> int:
    gone = 0
    for start in range(0, len(pks), BATCH):
        with write():
            rows = Observation.objects.filter(pk__in=pks[start : start + BATCH], purged_at__isnull=True)
            # Newest first, the order in which ``selection`` locks them.
            found = dict(locked(rows.order_by("-id")).values_list("pk", "observation_id"))
            gone += Observation.objects.filter(pk__in=found).update(
                purged_at=now, purge_reason=reason, asset=None, metadata={}, file_name=""
            )
            stored.let_go(found.values())
    return gone


def _forget(now: datetime) -> int:
    """Delete a batch of rows purged so long ago that no device will repeat their upload."""
    oldest = now - timedelta(days=settings.KHEISH.keep_purged_observations_days)
    old = list(Observation.objects.filter(purged_at__lt=oldest).values_list("pk", flat=True)[:BATCH])
    if not old:
        return 0
    with write():
        Observation.objects.filter(pk__in=old).delete()
    return len(old)
