"""Deliveries that have already had an end."""

from typing import Any

from connectors_app.models import Delivery
from connectors_app.services.contracts import Refused
from connectors_app.services.deliveries import claims, enqueue, find
from kheish_site.lib.transactions import locked, write
from sessions_app.models import Session

HOOK = {"plugin": "http", "address": {"url": "http://example.com/hook"}}


def dead_letter(session: Session, outcome: Any = None, *, key: str = "test:dead") -> Delivery:
    """A delivery the target refused, or with another ``outcome``."""
    with write():
        locked(Session.objects.filter(pk=session.pk)).first()
        (row,) = enqueue(session, None, targets=[HOOK], key=key, content="dead words")
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    claims.settle(work, outcome or Refused("terminal", "the target answered 410"), go_on=False)
    return find.get(row.delivery_id)
