"""What people do about targets: pause, resume, and reset one whose circuit is open."""

import logging

from django.db.models import Q

from connectors_app.models import DeliveryTarget
from connectors_app.services.deliveries import bell, targets
from kheish_site.lib import clock
from kheish_site.lib.errors import BadRequest
from kheish_site.lib.transactions import write
from sessions_app.services import audit
from sessions_app.services.principal import Principal

logger = logging.getLogger(__name__)


def pause(digest: str, *, principal: Principal) -> DeliveryTarget:
    """Send nothing more there; a send under way ends. A repeat changes nothing. Raises: TargetMissing."""
    pk = targets.get(digest).pk
    with write():
        rows = DeliveryTarget.objects.filter(pk=pk, paused_at=None)
        changed = rows.update(paused_at=clock.now(), paused_by=principal.name)
    return _recorded(pk, "delivery.target_paused", principal, changed)


def resume(digest: str, *, principal: Principal) -> DeliveryTarget:
    """Send there again. A repeat changes nothing. Raises: TargetMissing."""
    pk = targets.get(digest).pk
    with write():
        rows = DeliveryTarget.objects.filter(pk=pk, paused_at__isnull=False)
        changed = rows.update(paused_at=None, paused_by="")
        bell.ring()
    return _recorded(pk, "delivery.target_resumed", principal, changed)


def reset_backpressure(
    *, digest: str = "", plugin: str = "", dry_run: bool = False, principal: Principal
) -> list[DeliveryTarget]:
    """Forget the failures of a target, or of all targets of a plugin; return the targets that had any.

    A head is tried when its own wait is over. Raises: BadRequest (neither is given), TargetMissing.
    """
    if not digest and not plugin:
        raise BadRequest(
            "give a target, a plugin or both", code="delivery_filter_missing", domain="deliveries"
        )
    troubled = DeliveryTarget.objects.filter(Q(failures__gt=0) | Q(circuit_open_until__isnull=False))
    if digest:
        troubled = troubled.filter(pk=targets.get(digest).pk)
    if plugin:
        troubled = troubled.filter(plugin=plugin)
    rows = list(troubled.order_by("pk"))
    if not dry_run:
        for row in rows:
            _reset(row.pk)
            _recorded(row.pk, "delivery.target_forgiven", principal, 1)
        rows = list(DeliveryTarget.objects.filter(pk__in=[row.pk for row in rows]).order_by("pk"))
    return rows


def _reset(pk: int) -> None:
    with write():
        row = targets.lock(pk)
        if row is None:
            return
        row.failures, row.circuit_open_until = 0, None
        when = targets.due_at(row, targets.head(pk), row.db_now)
        targets.change(row, failures=0, circuit_open_until=None, next_at=when)
        bell.ring()


def _recorded(pk: int, action: str, principal: Principal, changed: int) -> DeliveryTarget:
    """Return the target as it is now; audit and log the change, if there was one."""
    row = DeliveryTarget.objects.get(pk=pk)
    if changed:
        audit.record(action, "delivery_target", row.name, principal=principal)
        about = {"action": action, "target": row.name, "principal": principal.name}
        logger.info("delivery target changed", extra=about)
    return row
