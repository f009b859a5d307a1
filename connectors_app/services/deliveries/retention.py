"""When deliveries are forgotten: after they are settled, never while they wait for a person."""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from connectors_app.models import WAITING_TO_LEAVE, Delivery, DeliveryStatus, DeliveryTarget
from connectors_app.services.deliveries import attachments, targets
from connectors_app.services.deliveries.find import TROUBLE
from kheish_site.lib import clock, crypto
from kheish_site.lib.transactions import locked, write
from sessions_app.models import Session
from sessions_app.services import assets

BATCH: Final = 500


def purge() -> int:
    """Delete a batch of old settled deliveries, and of targets without any; return how many rows went."""
    days = settings.KHEISH.deliveries.keep_days
    if not days:
        return 0
    before = clock.now() - timedelta(days=days)
    dealt_with = Q(status=DeliveryStatus.DELIVERED) | Q(
        status=DeliveryStatus.DEAD_LETTERED, resolved_at__isnull=False
    )
    old = Delivery.objects.filter(dealt_with, settled_at__lt=before).order_by("settled_at")
    with write():
        doomed = dict(old.values_list("pk", "delivery_id")[:BATCH])
        assets.release(attachments.DOMAIN, doomed.values())
        gone, _ = Delivery.objects.filter(pk__in=list(doomed)).delete()
    unused = DeliveryTarget.objects.filter(
        ~Exists(Delivery.objects.filter(target=OuterRef("pk"))), created_at__lt=before, paused_at=None
    )
    return gone + sum(_forget(pk) for pk in unused.values_list("pk", flat=True)[:BATCH])


def _forget(pk: int) -> int:
    """Delete one target unless a delivery was queued for it meanwhile."""
    with write():
        target = targets.lock(pk)
        if target is None or target.lease_owner or Delivery.objects.filter(target=pk).exists():
            return 0
        return DeliveryTarget.objects.filter(pk=pk).delete()[0]


def unsettled() -> Q:
    """Return the condition on sessions with something undelivered or undecided (``ports.SessionNeed``)."""
    # Each arm repeats the condition of a partial index.
    mine = Delivery.objects.filter(session=OuterRef("pk"))
    waits = mine.filter(status__in=sorted(WAITING_TO_LEAVE))
    return Q(Exists(waits)) | Q(Exists(mine.filter(TROUBLE)))


def session_purged(session: Session) -> None:
    """Delete the deliveries of a purged session, and release their assets (``ports.on_session_purged``)."""
    doomed = dict(Delivery.objects.filter(session=session).values_list("pk", "delivery_id"))
    assets.release(attachments.DOMAIN, doomed.values())
    Delivery.objects.filter(pk__in=list(doomed)).delete()


def reseal() -> int:
    """Seal every address again under the newest master key (``ports.register_reseal``)."""
    rows = list(locked(DeliveryTarget.objects.order_by("pk")))
    for row in rows:
        DeliveryTarget.objects.filter(pk=row.pk).update(sealed=crypto.reseal(row.sealed))
    return len(rows)
