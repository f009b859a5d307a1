"""The events that made a run, for its export."""

from collections.abc import Iterator
from typing import Any

from connectors_app.models import IngressReceipt
from kheish_site.lib import clock
from sessions_app.models import Run


def of_run(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the receipts of a run."""
    for row in IngressReceipt.objects.filter(run=run).select_related("connector").order_by("pk"):
        yield {
            "connector": str(row.connector),
            "key": row.key,
            "fingerprint": row.fingerprint,
            "duplicates": row.duplicates,
            "accepted_at": clock.rfc3339(row.accepted_at),
        }
