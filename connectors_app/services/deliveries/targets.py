"""Targets: found by their address, locked in order, leased by the worker that sends.

All times are the database's, which the workers of several machines share.
"""

import json
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from connectors_app.models import WAITING_TO_LEAVE, Delivery, DeliveryTarget
from connectors_app.services import handles
from connectors_app.services.contracts import Address
from kheish_site.lib import clock, crypto
from kheish_site.lib.canonical import canonical_json
from kheish_site.lib.errors import KheishError, NotFound
from kheish_site.lib.prepared import Prepared, update
from kheish_site.lib.transactions import locked, locked_in_order, require_transaction, write, write_soon

_MOST_DUE: Final = 500
"""Due targets read at one look; more than there are threads for."""
_TURN_SECONDS: Final = 0.5
"""How long a renewal waits for a locked row."""


class TargetMissing(NotFound):
    """No such delivery target."""

    code, domain = "delivery_target_not_found", "deliveries"


class TargetLost(KheishError):
    """Somebody else holds the target's lease now: nothing was written."""

    code, domain, status, retryable = "lease_lost", "deliveries", 409, True


def hold(given: Iterable[Mapping[str, Any]]) -> list[DeliveryTarget]:
    """Return the targets of the handles under their row locks, each once; missing ones are made.

    Local handles have none. Needs an open transaction that holds the session's row.
    """
    require_transaction()
    queues = (handles.queue_of(handle) for handle in given if handle["plugin"] != handles.LOCAL)
    wanted = {handles.digest_of(queue): queue for queue in queues}
    if not wanted:
        return []
    rows = DeliveryTarget.objects.filter(digest__in=wanted)
    missing = set(wanted) - set(rows.values_list("digest", flat=True))
    if missing:
        # By digest, so that two transactions that make the same targets wait in the same order.
        fresh = [_new(digest, wanted[digest]) for digest in sorted(missing)]
        DeliveryTarget.objects.bulk_create(fresh, ignore_conflicts=True)
    targets = list(locked(rows.order_by("pk")))
    if len(targets) < len(wanted):  # retention deleted one in between
        return hold(wanted.values())
    return targets


def _new(digest: str, handle: Mapping[str, Any]) -> DeliveryTarget:
    plugin, address = str(handle["plugin"]), handle["address"]
    return DeliveryTarget(
        digest=digest,
        name=handles.shown(handle),
        plugin=plugin,
        connector_name=str(address.get("connector", ""))[:100],
        sealed=crypto.seal(canonical_json(address).encode()),
        created_at=clock.now(),
    )


def address_of(target: DeliveryTarget) -> Address:
    """Return the address of the queue. Raises: Unreadable (the master key that sealed it is gone)."""
    return dict(json.loads(crypto.unseal(target.sealed)))


def get(name: str) -> DeliveryTarget:
    """Return the target with this name, digest, or start of its digest. Raises: TargetMissing."""
    digits = name.rpartition(":")[2].lower()
    if len(digits) >= handles.SHOWN_DIGITS:
        row = DeliveryTarget.objects.filter(digest__startswith=digits).first()
        if row is not None:
            return row
    raise TargetMissing(f"there is no delivery target {name}")


def _locked_row(pk: int) -> QuerySet[DeliveryTarget]:
    return locked(DeliveryTarget.objects.filter(pk=pk).order_by()).annotate(read_at=Now())


_LOCKED: Final = Prepared[DeliveryTarget](_locked_row, int)


def lock(pk: int) -> DeliveryTarget | None:
    """Return the target under its row lock, with the time it then was. Needs a transaction.

    ``db_now`` is the database's time, ``ticks`` this process's monotonic one, which is never later.
    """
    require_transaction()
    ticks = time.monotonic()
    row = _LOCKED.first(pk)
    if row is not None:
        row.db_now, row.ticks = vars(row)["read_at"], ticks
    return row


def queue(pk: int) -> QuerySet[Delivery]:
    """Return the deliveries that wait to leave for one target, in order."""
    rows = Delivery.objects.filter(target_id=pk, status__in=sorted(WAITING_TO_LEAVE))
    return rows.select_related("session", "run").order_by("id")


_HEAD: Final = Prepared[Delivery](lambda pk: queue(pk)[:1], int)
_BEHIND: Final = Prepared[Delivery](lambda pk, first: queue(pk).exclude(pk=first)[:1], int, int)


def head(pk: int) -> Delivery | None:
    """Return the first delivery of the queue, or None."""
    return _HEAD.first(pk)


def behind(first: Delivery) -> Delivery | None:
    """Return the delivery behind ``first``, the head of its queue, or None."""
    return _BEHIND.first(first.target_id, first.pk)


def _due(*, held: bool) -> QuerySet[DeliveryTarget, tuple[int]]:
    lease = ~Q(lease_owner="") & Q(lease_expires_at__lte=Now()) if held else Q(lease_owner="")
    rows = DeliveryTarget.objects.filter(lease, paused_at=None, next_at__lte=Now())
    return rows.order_by("next_at").values_list("pk")[:_MOST_DUE]


_LEFT: Final = Prepared[tuple[int]](lambda: _due(held=True))
_FREE: Final = Prepared[tuple[int]](lambda: _due(held=False))


def due(limit: int, *, besides: Collection[int] = ()) -> list[int]:
    """Return targets whose head is due and that nobody sends to: those of dead workers, then longest due.

    Two partial indexes answer it; settled deliveries and idle targets are not looked at.
    """
    pks = [pk for rows in (_LEFT, _FREE) for (pk,) in rows.all() if pk not in besides]
    return pks[:limit]


def take(pk: int, owner: str) -> DeliveryTarget | None:
    """Take the lease of a due target; return the target under its row lock, or None if it cannot be taken.

    Needs an open transaction.
    """
    row = lock(pk)
    if row is None or row.paused_at is not None or row.next_at is None or row.next_at > row.db_now:
        return None
    if row.lease_expires_at is not None and row.lease_expires_at > row.db_now:
        return None
    change(row, lease_owner=owner, lease_epoch=row.lease_epoch + 1, lease_expires_at=expiry(row))
    return row


def change(target: DeliveryTarget, **fields: Any) -> None:
    """Write fields of a target that ``lock`` has returned in this transaction."""
    update(target, fields, where={})


def expiry(target: DeliveryTarget) -> datetime:
    """Return when a lease taken or renewed under this lock runs out."""
    return target.db_now + timedelta(seconds=life_seconds())


def life_seconds() -> float:
    """Return how long a target's lease lives without renewal."""
    return float(settings.KHEISH.lease_seconds)


def check(target: DeliveryTarget | None, owner: str, epoch: int) -> DeliveryTarget:
    """Return ``target``, read under its lock, if it is still ours. Raises: TargetLost."""
    if target is None or (target.lease_owner, target.lease_epoch) != (owner, epoch):
        raise TargetLost("another worker sends to this target now")
    return target


def renew(pk: int, owner: str, epoch: int) -> bool:
    """Renew one lease; False when it is lost. One statement a target, as batches could deadlock.

    Raises: RowHeld, when its row stays locked for longer than the other leases should wait.
    """
    with write_soon(_TURN_SECONDS):
        rows = DeliveryTarget.objects.filter(pk=pk, lease_owner=owner, lease_epoch=epoch)
        return rows.update(lease_expires_at=Now() + timedelta(seconds=life_seconds())) == 1


def expire_owned_by(owners: Collection[str]) -> None:
    """End the leases of workers known to be dead, so that they can be taken at once."""
    rows = DeliveryTarget.objects.filter(~Q(lease_owner=""), lease_owner__in=list(owners))
    with write():
        # In the order in which ``hold`` and ``operate`` lock them.
        rows.filter(pk__in=locked_in_order(rows), lease_expires_at__gt=Now()).update(lease_expires_at=Now())


def due_at(target: DeliveryTarget, first: Delivery | None, now: datetime) -> datetime | None:
    """Return when ``first``, the head of the queue, may be sent; None without one.

    An open circuit and the least time between two attempts delay it.
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
