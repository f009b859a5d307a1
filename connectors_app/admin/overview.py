"""What the first page says of deliveries: those that a person must look at."""

from connectors_app.models import Delivery, DeliveryStatus
from connectors_app.services.deliveries import find, health
from sessions_app.admin import overview, show
from sessions_app.admin.overview import Addition, Card, Item, Panel


def needed() -> Addition:
    """Gather dead letters and unknown outcomes that nobody has dealt with; two queries."""
    counts = health.trouble()
    dead, unknown = counts["unresolved_dead_lettered"], counts["unknown"]
    url = show.list_url(Delivery, needs="person")
    words = [
        f"{dead} dead letter{'s' if dead != 1 else ''}" if dead else "",
        f"{unknown} unknown" if unknown else "",
    ]
    card = Card(
        title="Not delivered",
        number=dead + unknown,
        note=", ".join(filter(None, words)) or "nothing to look at",
        url=url if dead + unknown else show.list_url(Delivery),
        tone="bad" if dead else "wait" if unknown else "",
    )
    panel = Panel(
        title="Deliveries to look at",
        items=[_item(row) for row in find.rows().filter(find.TROUBLE).order_by("-id")[: overview.SHOWN]],
        url=url,
        empty="No dead letter and no unknown outcome. What cannot be delivered appears here.",
    )
    return Addition(card=card, panel=panel)


def _item(row: Delivery) -> Item:
    what = "did it arrive? " if row.status == DeliveryStatus.UNKNOWN else ""
    said = str(show.redact(row.last_error.get("message", ""))) or row.delivery_id
    return Item(
        status=show.badge(row.status),
        link=show.link(row, f"{what}{said}"[:160]),
        about=f"{row.session.session_id}, to {row.target}",
        when=show.age(row.settled_at or row.created_at),
    )


overview.add(needed)
