"""Search by the names platforms use: event keys, conversations, connectors, deliveries and messages."""

from collections.abc import Iterator
from typing import Final

from connectors_app.models import BindingKey, Connector, Delivery, IngressReceipt
from kheish_site.lib.canonical import sha256_hex
from sessions_app.services.ports import Hit

_MOST: Final = 50
_WINDOW: Final = 2_000


def find(text: str) -> Iterator[Hit]:
    """Yield what ``text`` names here (``ports.Search``): five queries, over an index or the newest rows."""
    yield from _events(text)
    yield from _conversations(text)
    yield from _connectors(text)
    yield from _deliveries(text)


def _events(text: str) -> Iterator[Hit]:
    everywhere = Connector.objects.values("pk")  # so that the unique index on connector and key answers
    receipts = IngressReceipt.objects.filter(connector__in=everywhere, key=text, run__isnull=False)
    rows = receipts.order_by("-pk").values_list("run__run_id", "session__session_id", "accepted_at")
    for run_id, session_id, at in rows[:_MOST]:
        yield Hit(kind="run", item_id=run_id, by="event_key", excerpt=text, session_id=session_id, at=at)


def _conversations(text: str) -> Iterator[Hit]:
    bound = BindingKey.objects.filter(digest=sha256_hex(text))
    for session_id, at in bound.values_list("session__session_id", "created_at"):
        yield Hit(kind="session", item_id=session_id, by="binding_key", excerpt=text, at=at)


def _connectors(text: str) -> Iterator[Hit]:
    kind, _, name = text.rpartition("/")
    rows = Connector.objects.filter(name=name, removed_at=None, **({"kind": kind} if kind else {}))
    for row in rows[:_MOST]:
        yield Hit(kind="connector", item_id=str(row), by="id", at=row.created_at)


def _deliveries(text: str) -> Iterator[Hit]:
    columns = ("delivery_id", "run__run_id", "session__session_id", "created_at")
    exact = Delivery.objects.filter(delivery_id=text).order_by()
    newest = Delivery.objects.order_by("-pk").values("pk")[:_WINDOW]
    sent = Delivery.objects.filter(pk__in=newest, reference=text).order_by("-pk")
    for rows, by in ((exact, "id"), (sent, "platform_id")):
        for delivery_id, run_id, session_id, at in rows.values_list(*columns)[:_MOST]:
            yield Hit(
                kind="delivery",
                item_id=delivery_id,
                by=by,
                excerpt=text,
                run_id=run_id or "",
                session_id=session_id,
                at=at,
            )
