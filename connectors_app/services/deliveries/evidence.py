"""The record of each attempt in the ledger of external actions."""

from typing import Literal

from connectors_app.models import Delivery
from kheish_site.lib.transactions import require_transaction


def record(delivery: Delivery, phase: Literal["started", "finished"], *, outcome: str = "") -> None:
    """Record that an attempt begins, or what came of it. Needs the transaction that commits just that.

    That transaction holds the row of the delivery's session.
    """
    require_transaction()
