"""What people do about targets: pause, resume, and forgive one whose circuit is open."""

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
    """Send nothing more there; what is being sent ends. A repeat changes nothing. Raises: TargetMissing."""
    pk = targets.get(digest).pk
    with write():
        rows = DeliveryTarget.objects.filter(pk=pk, paused_at=None)
        changed = rows.update(paused_at=clock.now(), paused_by=principal.name)
    return _told(pk, "delivery.target_paused", principal, changed)


def resume(digest: str, *, principal: Principal) -> DeliveryTarget:
    """Send there again. A repeat changes nothing. Raises: TargetMissing."""
    pk = targets.get(digest).pk
    with write():
        rows = DeliveryTarget.objects.filter(pk=pk, paused_at__isnull=False)
        changed = rows.update(paused_at=None, paused_by="")
        bell.ring()
    return _told(pk, "delivery.target_resumed", principal, changed)


def reset_backpressure(
    *, digest: str = "", plugin: str = "", dry_run: bool = False, principal: Principal
) -> list[DeliveryTarget]:
    """Forget the failures of a target, or of those of a plugin; return the ones that had any.

    Their heads are tried when their own wait is over. Raises: BadRequest (neither is given), TargetMissing.
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
    found = list(troubled.order_by("pk"))
    if not dry_run:
        for row in found:
            _forgive(row.pk)
            _told(row.pk, "delivery.target_forgiven", principal, 1)
        found = list(DeliveryTarget.objects.filter(pk__in=[row.pk for row in found]).order_by("pk"))
    return found


def _forgive(pk: int) -> None:
    with write():
        row = targets.lock(pk)
        if row is None:
            return
        row.failures, row.circuit_open_until = 0, None
        when = targets.due_at(row, targets.head(pk), row.db_now)
        targets.change(row, failures=0, circuit_open_until=None, next_at=when)
        bell.ring()


def _told(pk: int, action: str, principal: Principal, changed: int) -> DeliveryTarget:
    row = DeliveryTarget.objects.get(pk=pk)
    if changed:
        audit.record(action, "delivery_target", row.name, principal=principal)
        about = {"action": action, "target": row.name, "principal": principal.name}
        logger.info("delivery target changed", extra=about)
    return row
