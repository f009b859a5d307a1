"""The health of deliveries, for the status and for Prometheus.

Unsettled deliveries are counted over partial indexes, so settled ones cost nothing; totals are remembered for
a while.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.db.models import Count, Min, Q
from django.db.models.functions import Now

from connectors_app.models import WAITING_TO_LEAVE, Delivery, DeliveryStatus, DeliveryTarget
from connectors_app.services.deliveries.find import TROUBLE
from kheish_site.lib.remembered import Remembered
from sessions_app.services.ports import StatusPart

STATUS: Final = DeliveryStatus
_PREFIX: Final = "kheish_delivery"


def status_part() -> StatusPart:
    """Return the status of deliveries: a few counts, and warnings for what nobody has resolved."""
    counts = trouble()
    waiting = Delivery.objects.filter(status__in=sorted(WAITING_TO_LEAVE)).count()
    view = {"waiting": waiting, **counts, "targets_paused": _paused()}
    return StatusPart(view=view, warnings=list(_warnings(counts)))


def trouble() -> dict[str, int]:
    """Count the dead letters, those of them nobody dealt with, and the deliveries of unknown outcome."""
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
    waiting, troubles, totals = _waiting(), trouble(), _TOTALS()
    by_status = {**waiting, **troubles, STATUS.DELIVERED: totals["delivered"]}
    name = f"{_PREFIX}_deliveries"
    yield (
        name,
        "".join(f'{name}{{status="{status}"}} {by_status[status]}\n' for status in STATUS.values),
    )
    for key, value in _numbers(waiting, troubles, totals).items():
        yield f"{_PREFIX}_{key}", f"{_PREFIX}_{key} {value}\n"


def _waiting() -> dict[str, int]:
    """Count what waits to leave, by status; ``ready`` may leave now, ``targets`` is how many have a queue."""
    now = Q(next_attempt_at=None) | Q(next_attempt_at__lte=Now())
    return Delivery.objects.filter(status__in=sorted(WAITING_TO_LEAVE)).aggregate(
        **{str(status): Count("pk", filter=Q(status=status)) for status in sorted(WAITING_TO_LEAVE)},
        ready=Count("pk", filter=~Q(status=STATUS.SENDING) & now),
        targets=Count("target", distinct=True),
    )


def _count_all() -> dict[str, int]:
    """Count what no partial index covers: a scan."""
    return {
        "delivered": Delivery.objects.filter(status=STATUS.DELIVERED).count(),
        "targets": DeliveryTarget.objects.count(),
    }


_TOTALS: Final = Remembered(_count_all, seconds=15)


def _numbers(
    waiting: Mapping[str, int], troubles: Mapping[str, int], totals: Mapping[str, int]
) -> dict[str, Any]:
    # ``targets.due`` asks in the same two arms: each has its partial index.
    due = DeliveryTarget.objects.filter(next_at__lte=Now(), paused_at=None)
    arms = (due.filter(lease_owner=""), due.filter(~Q(lease_owner=""), lease_expires_at__lte=Now()))
    idle = [
        rows.annotate(read_at=Now()).aggregate(n=Count("pk"), oldest=Min("next_at"), at=Min("read_at"))
        for rows in arms
    ]
    lags = [(found["at"] - found["oldest"]).total_seconds() for found in idle if found["oldest"]]
    circuits = DeliveryTarget.objects.filter(circuit_open_until__isnull=False)
    return {
        "ready": waiting["ready"],
        "dispatchable": sum(found["n"] for found in idle),
        "unresolved_dead_lettered": troubles["unresolved_dead_lettered"],
        "targets_total": totals["targets"],
        "targets_waiting": waiting["targets"],
        "targets_sending": DeliveryTarget.objects.filter(~Q(lease_owner="")).count(),
        "targets_paused": _paused(),
        "targets_circuit_open": circuits.filter(circuit_open_until__gt=Now()).count(),
        "worker_lag_ms": max(round(max(lags, default=0.0) * 1000), 0),
    }
