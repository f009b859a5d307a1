"""The connectors' part of the inbox: dead letters, and deliveries of unknown outcome."""

from typing import Any

from django.http import HttpRequest

from connectors_app.models import Delivery, DeliveryStatus
from connectors_app.services.deliveries import find, health
from sessions_app.admin import addresses, inbox, show
from sessions_app.admin.inbox import Item, Settled, Source
from sessions_app.services.projections.shape import one_line


def _count() -> int:
    counts = health.trouble()
    return int(counts["unresolved_dead_lettered"] + counts["unknown"])


def _items(limit: int) -> list[Item]:
    return [_item(row) for row in find.rows().filter(find.TROUBLE).order_by("id")[:limit]]


def _item(row: Delivery) -> Item:
    unknown = row.status == DeliveryStatus.UNKNOWN
    said = one_line(str(show.redact(row.last_error.get("message", "")))) or row.delivery_id
    return Item(
        key=row.delivery_id,
        what="Did it arrive?" if unknown else "Not delivered",
        gist=f"{row.target.name}: {said}",
        risk="",
        session_id=row.session.session_id,
        of_run="",
        asked_at=row.settled_at or row.created_at,
        icon="scale" if unknown else "send",
    )


def _settled(row: Delivery) -> Settled | None:
    if row.status in (DeliveryStatus.DEAD_LETTERED, DeliveryStatus.UNKNOWN) and row.resolved_at is None:
        return None
    return Settled(
        word=row.get_decision_display() if row.decision else row.get_status_display().lower(),
        who=row.resolved_by,
        at=row.resolved_at or row.settled_at,
        why=show.redact(row.resolution_reason),
    )


def _pane(request: HttpRequest, row: Delivery) -> dict[str, Any]:
    whole = find.get(row.delivery_id)
    return {
        "console_name": "Delivery",
        "console_delivery": whole,
        "console_session_url": addresses.of(whole.session),
        "console_run_url": addresses.of(whole.run) if whole.run else "",
        "console_target_url": addresses.of(whole.target),
        "console_error": show.json_block(whole.last_error),
        "console_says": show.block(whole.content),
    }


inbox.add(
    Source(
        prefix="dlv_",
        noun="not delivered",
        model=Delivery,
        template="connectors_app/admin/pane_delivery.html",
        count=_count,
        items=_items,
        settled=_settled,
        pane=_pane,
    )
)
