"""How deliveries are: for the status, and for Prometheus."""

from collections.abc import Iterator
from typing import Any, Final

from django.db.models import Count, Min, Q
from django.db.models.functions import Now

from connectors_app.models import WAITING_TO_LEAVE, Delivery, DeliveryStatus, DeliveryTarget
from connectors_app.services.deliveries.find import TROUBLE
from sessions_app.services.ports import StatusPart

STATUS: Final = DeliveryStatus
_PREFIX: Final = "kheish_delivery"


def status_part() -> StatusPart:
    """Return what the status says: a few counts over partial indexes. Only what is unresolved is trouble."""
    counts = trouble()
    waiting = Delivery.objects.filter(status__in=sorted(WAITING_TO_LEAVE)).count()
    view = {"waiting": waiting, **counts, "targets_paused": _paused()}
    return StatusPart(view=view, warnings=list(_warnings(counts)))


def trouble() -> dict[str, int]:
    """Return how many dead letters there are, how many nobody dealt with, how many of unknown outcome."""
    # Each condition repeats the index's own, so that settled deliveries are not looked at.
    kept = Q(status__in=[STATUS.DEAD_LETTERED, STATUS.UNKNOWN])
    return Delivery.objects.filter(kept).aggregate(
        dead_lettered=Count("pk", filter=Q(status=STATUS.DEAD_LETTERED)),
        unresolved_dead_lettered=Count("pk", filter=Q(status=STATUS.DEAD_LETTERED) & TROUBLE),
        unknown=Count("pk", filter=Q(status=STATUS.UNKNOWN)),
    )


def _paused() -> int:
    return DeliveryTarget.objects.filter(paused_at__isnull=False).count()


def _warnings(counts: dict[str, int]) -> Iterator[dict[str, str]]:
    for name, words, action in (
        (
            "unresolved_dead_lettered",
            "dead letters",
            "look at deliveries list --unresolved: replay or resolve",
        ),
        ("unknown", "deliveries of unknown outcome", "look at the target, then deliveries decide"),
    ):
        if counts[name]:
            yield {
                "severity": "warning",
                "code": f"deliveries_{name}",
                "message": f"{counts[name]} {words}",
                "action": action,
            }


def metrics() -> str:
    """Return the gauges in Prometheus' text format."""
    return "".join(f"# TYPE {name} gauge\n{lines}" for name, lines in _gauges())


def _gauges() -> Iterator[tuple[str, str]]:
    by_status = dict(Delivery.objects.order_by().values_list("status").annotate(number=Count("pk")))
    name = f"{_PREFIX}_deliveries"
    yield (
        name,
        "".join(f'{name}{{status="{status}"}} {by_status.get(status, 0)}\n' for status in STATUS.values),
    )
    for key, value in _numbers().items():
        yield f"{_PREFIX}_{key}", f"{_PREFIX}_{key} {value}\n"


def _numbers() -> dict[str, Any]:
    waiting = Delivery.objects.filter(status__in=[STATUS.PENDING, STATUS.RETRYING])
    due = DeliveryTarget.objects.filter(next_at__lte=Now(), paused_at=None)
    idle = due.filter(Q(lease_owner="") | Q(lease_expires_at__lte=Now()))
    first = idle.annotate(read_at=Now()).aggregate(oldest=Min("next_at"), at=Min("read_at"))
    lag = (first["at"] - first["oldest"]).total_seconds() if first["oldest"] else 0.0
    return {
        "ready": waiting.filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=Now())).count(),
        "dispatchable": idle.count(),
        "unresolved_dead_lettered": trouble()["unresolved_dead_lettered"],
        "targets_total": DeliveryTarget.objects.count(),
        "targets_waiting": DeliveryTarget.objects.filter(next_at__isnull=False).count(),
        "targets_sending": DeliveryTarget.objects.exclude(lease_owner="").count(),
        "targets_paused": _paused(),
        "targets_circuit_open": DeliveryTarget.objects.filter(circuit_open_until__gt=Now()).count(),
        "worker_lag_ms": max(round(lag * 1000), 0),
    }
