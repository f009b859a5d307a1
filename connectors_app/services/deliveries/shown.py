"""Deliveries and their targets as clients see them: never with an address."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Count, Q

from connectors_app.models import WAITING_TO_LEAVE, Delivery, DeliveryStatus, DeliveryTarget
from connectors_app.services.deliveries import find
from kheish_site.lib.redaction import redact
from sessions_app.models import Run
from sessions_app.services.projections.shape import View, known, time


def of_run(run: Run) -> Iterator[View]:
    """Yield the deliveries of a run with their content, oldest first."""
    for row in find.rows(whole=True).filter(run=run).order_by("pk").iterator(chunk_size=200):
        yield delivery_detail(row, content=True)


def delivery_views(rows: Iterable[Delivery]) -> list[View]:
    """Return the deliveries of ``find.rows`` in the order given."""
    return [delivery_view(row) for row in rows]


def delivery_view(row: Delivery) -> View:
    """Return one delivery without its content."""
    return {
        "delivery_id": row.delivery_id,
        "session_id": row.session.session_id,
        **known(
            thread_id=row.session.thread_id or None, run_id=row.run.run_id if row.run is not None else None
        ),
        "kind": row.kind,
        "plugin": row.target.plugin,
        "target": row.target.name,
        "status": row.status,
        "attempts": row.attempts,
        **known(
            next_attempt_at=time(row.next_attempt_at),
            last_error=row.last_error or None,
            terminal_error=row.terminal_error or None,
            reference=redact(row.reference) or None,
        ),
        "content_size_bytes": row.size_bytes,
        "parts_count": row.parts_count,
        "artifacts_count": len(row.attachments),
        "created_at": time(row.created_at),
        **known(attempted_at=time(row.attempted_at), **_end(row)),
    }


def _end(row: Delivery) -> dict[str, Any]:
    source = row.replayed_from
    return {
        "delivered_at": time(row.settled_at) if row.status == DeliveryStatus.DELIVERED else None,
        "dead_lettered_at": time(row.settled_at) if row.status == DeliveryStatus.DEAD_LETTERED else None,
        "decision": row.decision or None,
        "resolved_at": time(row.resolved_at),
        "resolved_by": row.resolved_by or None,
        "resolution_reason": row.resolution_reason or None,
        "replayed_from_delivery_id": source.delivery_id if source is not None else None,
    }


def delivery_detail(row: Delivery, *, content: bool) -> View:
    """Return one delivery; with ``content`` its message too."""
    view = delivery_view(row)
    if content:
        view |= {
            "content": redact(row.content),
            "parts": redact(row.parts),
            "attachments": row.attachments,
            "metadata": redact(row.metadata),
        }
    return view


def target_views(rows: Iterable[DeliveryTarget]) -> list[View]:
    """Return the targets in the order given; one more query counts what waits there."""
    targets = list(rows)
    waits = Q(status__in=sorted(WAITING_TO_LEAVE), target_id__in=[row.pk for row in targets])
    counts = Delivery.objects.filter(waits).order_by().values_list("target_id")
    queued = dict(counts.annotate(number=Count("pk")))
    return [_target(row, queued.get(row.pk, 0)) for row in targets]


def target_view(row: DeliveryTarget) -> View:
    """Return one target."""
    return target_views([row])[0]


def _target(row: DeliveryTarget, queued: int) -> View:
    return {
        "digest": row.digest,
        "target": row.name,
        "plugin": row.plugin,
        **known(connector=row.connector_name or None),
        "queued": queued,
        "sending": bool(row.lease_owner),
        "consecutive_failures": row.failures,
        "paused": row.paused_at is not None,
        "created_at": time(row.created_at),
        **known(
            next_at=time(row.next_at),
            circuit_open_until=time(row.circuit_open_until),
            last_attempt_at=time(row.last_attempt_at),
            paused_at=time(row.paused_at),
            paused_by=row.paused_by or None,
        ),
    }
