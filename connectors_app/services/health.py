"""The health of connectors: what keeps each from working, for its view and for the status."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from connectors_app.models import Connector
from connectors_app.services import connectors, registry
from connectors_app.services.contracts import KnowsTrouble
from sessions_app.models import SecretSlot
from sessions_app.services.ports import StatusPart

_MOST_WARNINGS: Final = 20


def problems(rows: Iterable[Connector]) -> dict[int, list[str]]:
    """Return what keeps connectors from working, by primary key; one query, and at most one more a kind."""
    by_kind, troubles = sorted(rows, key=lambda row: row.kind), defaultdict[int, list[str]](list)
    slots = set(SecretSlot.objects.values_list("slot_id", flat=True)) if by_kind else set()
    for row in by_kind:
        for field, place in row.secrets.items():
            if "slot" in place and place["slot"] not in slots:
                troubles[row.pk].append(f"the slot of {field} does not exist")
    for name, group in groupby(by_kind, key=lambda row: row.kind):
        kind = registry.kind(name)
        if isinstance(kind, KnowsTrouble):
            for pk, trouble in kind.trouble(list(group)).items():
                troubles[pk].append(trouble)
    return troubles


def status_part() -> StatusPart:
    """Return the part of the status on the enabled connectors."""
    rows = list(connectors.everything().filter(enabled=True).order_by("kind", "name"))
    troubled = problems(rows)
    view = {"enabled": len(rows), "with_problems": sum(1 for row in rows if troubled.get(row.pk))}
    named = [row for row in rows if troubled.get(row.pk)][:_MOST_WARNINGS]
    return StatusPart(
        view=view, warnings=[part for row in named for part in _warnings(row, troubled[row.pk])]
    )


def _warnings(row: Connector, troubles: list[str]) -> Iterator[dict[str, str]]:
    for trouble in troubles:
        yield {
            "severity": "warning",
            "code": "connector_not_working",
            "message": f"the connector {row}: {trouble}",
            "action": f"see: connectors get {row.kind} {row.name}",
        }
