"""Targets: found by their address, locked in order, leased by whoever sends.

All times are the database's, which the workers of several machines share.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from connectors_app.models import WAITING_TO_LEAVE, Delivery, DeliveryTarget
from connectors_app.services import handles
from connectors_app.services.contracts import Address
from kheish_site.lib import clock, crypto
from kheish_site.lib.canonical import canonical_json
from kheish_site.lib.errors import KheishError, NotFound
from kheish_site.lib.transactions import locked, require_transaction, write


class TargetMissing(NotFound):
    """No such delivery target."""

    code, domain = "delivery_target_not_found", "deliveries"


class TargetLost(KheishError):
    """Somebody else holds the target's lease now: nothing was written."""

    code, domain, status, retryable = "lease_lost", "deliveries", 409, True


def hold(given: Iterable[Mapping[str, Any]]) -> list[DeliveryTarget]:
    """Return the targets of the handles under their row locks, each once, made where they are missing.

    Local handles have none. Needs an open transaction that holds the session's row.
    """
    require_transaction()
    found_at = (handles.queue_of(handle) for handle in given if handle["plugin"] != handles.LOCAL)
    wanted = {handles.digest_of(queue): queue for queue in found_at}
    if not wanted:
        return []
    rows = DeliveryTarget.objects.filter(digest__in=wanted)
    missing = set(wanted) - set(rows.values_list("digest", flat=True))
    if missing:
        # By digest, so that two transactions that make the same targets wait in the same order.
        made = [_new(found, wanted[found]) for found in sorted(missing)]
        DeliveryTarget.objects.bulk_create(made, ignore_conflicts=True)
    found = list(locked(rows.order_by("pk")))
    if len(found) < len(wanted):  # retention took one away in between
        return hold(wanted.values())
    return found


def _new(found: str, handle: Mapping[str, Any]) -> DeliveryTarget:
    plugin, address = str(handle["plugin"]), handle["address"]
    return DeliveryTarget(
        digest=found,
        name=handles.shown(handle),
        plugin=plugin,
        connector_name=str(address.get("connector", ""))[:100],
        sealed=crypto.seal(canonical_json(address).encode()),
        created_at=clock.now(),
    )


def address_of(target: DeliveryTarget) -> Address:
    """Return the address of the queue. Raises: Unreadable (the master key that sealed it is gone)."""
    return dict(json.loads(crypto.unseal(target.sealed)))


def get(found: str) -> DeliveryTarget:
    """Return the target of a digest, whole or as long as in its name. Raises: TargetMissing."""
    known = found.rpartition(":")[2].lower()
    if len(known) >= handles.SHOWN_DIGITS:
        row = DeliveryTarget.objects.filter(digest__startswith=known).first()
        if row is not None:
            return row
    raise TargetMissing(f"there is no delivery target {found}")


def lock(pk: int) -> DeliveryTarget | None:
    """Return the target under its row lock, with the database's time as ``db_now``. Needs a transaction."""
    row = locked(DeliveryTarget.objects.filter(pk=pk).annotate(read_at=Now())).first()
    if row is not None:
        row.db_now = vars(row)["read_at"]
    return row


def queue(pk: int) -> QuerySet[Delivery]:
    """Return what waits to leave for one target, in order."""
    rows = Delivery.objects.filter(target_id=pk, status__in=sorted(WAITING_TO_LEAVE))
    return rows.select_related("session", "run").order_by("id")


def head(pk: int) -> Delivery | None:
    """Return the first delivery of the queue, or None."""
    return queue(pk).first()


def due(limit: int, *, besides: Collection[int] = ()) -> list[int]:
    """Return targets whose head is due and that nobody sends to, longest due first.

    Two partial indexes answer it; settled deliveries and idle targets are not looked at.
    """
    open_ = DeliveryTarget.objects.filter(paused_at=None, next_at__lte=Now()).exclude(pk__in=besides)
    found: list[int] = []
    for rows in (open_.filter(~Q(lease_owner=""), lease_expires_at__lte=Now()), open_.filter(lease_owner="")):
        found += rows.order_by("next_at").values_list("pk", flat=True)[:limit]
    return found[:limit]


def take(pk: int, owner: str) -> int | None:
    """Take the lease of a due target in one update; return its new epoch, or None when it is not to be had.

    Needs an open transaction.
    """
    require_transaction()
    free = Q(lease_owner="") | Q(lease_expires_at__lte=Now())
    rows = DeliveryTarget.objects.filter(free, pk=pk, paused_at=None, next_at__lte=Now())
    taken = rows.update(lease_owner=owner, lease_epoch=F("lease_epoch") + 1, lease_expires_at=expiry())
    return DeliveryTarget.objects.values_list("lease_epoch", flat=True).get(pk=pk) if taken else None


def expiry() -> Any:
    """Return when a lease taken or renewed now runs out, as an expression."""
    return Now() + timedelta(seconds=life_seconds())


def life_seconds() -> float:
    """Return how long a target's lease lives without renewal."""
    return float(settings.KHEISH.lease_seconds)


def check(target: DeliveryTarget | None, owner: str, epoch: int) -> DeliveryTarget:
    """Return ``target``, read under its lock, if it is still ours. Raises: TargetLost."""
    if target is None or (target.lease_owner, target.lease_epoch) != (owner, epoch):
        raise TargetLost("another worker sends to this target now")
    return target


def renew(pk: int, owner: str, epoch: int) -> bool:
    """Renew one lease; False when it is lost. One statement a target: several could wait for each other."""
    with write():
        rows = DeliveryTarget.objects.filter(pk=pk, lease_owner=owner, lease_epoch=epoch)
        return rows.update(lease_expires_at=expiry()) == 1


def expire_owned_by(owners: Collection[str]) -> None:
    """Let the leases of workers known to be dead be taken at once."""
    rows = DeliveryTarget.objects.filter(~Q(lease_owner=""), lease_owner__in=list(owners))
    with write():
        # By primary key, as ``hold`` and the deciders lock them: an update alone would take any order.
        held = [row.pk for row in locked(rows.order_by("pk")).only("pk")]
        rows.filter(pk__in=held, lease_expires_at__gt=Now()).update(lease_expires_at=Now())


def due_at(target: DeliveryTarget, first: Delivery | None, now: datetime) -> datetime | None:
    """Return when ``first``, the head of the queue, may be sent; None without one.

    An open circuit and the least time between two attempts count.
    """
    if first is None:
        return None
    pace = timedelta(milliseconds=settings.KHEISH.deliveries.target_min_interval_ms)
    earliest = [first.next_attempt_at, target.circuit_open_until]
    if target.last_attempt_at is not None:
        earliest.append(target.last_attempt_at + pace)
    return max((moment for moment in earliest if moment is not None), default=now)


def rows() -> QuerySet[DeliveryTarget]:
    """Return all targets."""
    return DeliveryTarget.objects.all()
