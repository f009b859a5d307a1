"""Which observations a materialization shows: a selector, bounds, and the rows it finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

from django.db.models import QuerySet

from connectors_app.models import Observation
from connectors_app.services.observations import sources
from connectors_app.services.observations.uploads import ObservationMissing
from kheish_site.lib import clock
from kheish_site.lib.errors import BadRequest, Conflict
from kheish_site.lib.transactions import locked

SELECTORS: Final[dict[str, frozenset[str]]] = {
    "observation_ids": frozenset({"observation_ids"}),
    "latest_from_source": frozenset({"source_id"}),
    "latest_from_stream": frozenset({"source_id", "stream_id"}),
    "observation_group": frozenset({"capture_group_id"}),
}
MOST_OBSERVATIONS: Final = 10
"""The number of files one input takes."""
RawAssetPolicy = Literal["auto", "never", "always"]


class SelectionEmpty(Conflict):
    """Nothing fits the selector, and the caller wants to be told."""

    code, domain = "observation_selection_empty", "observations"


class MaterializationRefused(Conflict):
    """A source of the selection may not be shown to agents."""

    code, domain = "observation_materialization_refused", "observations"


class ObservationPurged(Conflict):
    """The raw content was asked for and is no longer kept."""

    code, domain = "observation_purged", "observations"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What to show. ``selector`` is ``{"type": …}`` with the members its type needs (``SELECTORS``).

    ``raw_asset_policy``: ``auto`` shows the content that is still kept, ``never`` only the facts,
    ``always`` the content of every one or nothing. ``lookback_seconds`` (0: any age) counts from receipt.
    """

    selector: Mapping[str, Any]
    max_observations: int = 3
    lookback_seconds: int = 0
    raw_asset_policy: RawAssetPolicy = "auto"
    fail_when_empty: bool = True
    after: int = field(default=0, repr=False)
    """Primary key of an observation: only later ones are found; for schedules."""


def check(selector: Mapping[str, Any]) -> None:
    """Raise BadRequest(invalid_observation_selector) unless the selector has just what its type needs."""
    kind = selector.get("type", "")
    if kind not in SELECTORS:
        raise _invalid(f"a selector is one of {', '.join(SELECTORS)}")
    given = {name for name, value in selector.items() if name != "type" and value}
    if given != SELECTORS[kind]:
        raise _invalid(f"{kind} needs {' and '.join(sorted(SELECTORS[kind]))} and nothing else")


def find(selection: Selection) -> list[Observation]:
    """Return the selected observations, locked against a purge until the commit.

    Named ones come in the order given, others oldest first.

    Needs an open transaction. Raises: BadRequest(invalid_observation_selector), SourceMissing,
    ObservationMissing, ObservationPurged, MaterializationRefused, SelectionEmpty.
    """
    check(selection.selector)
    named = selection.selector["type"] == "observation_ids"
    found = _named(selection) if named else _newest(selection)
    if not found and selection.fail_when_empty:
        raise SelectionEmpty("no observation fits the selector")
    refused = sorted({row.source.source_id for row in found if not row.source.allow_materialization})
    if refused:
        raise MaterializationRefused(f"{refused[0]} may not be materialized", sources=refused)
    gone = [row.observation_id for row in found if row.purged_at is not None]
    if gone and selection.raw_asset_policy == "always":
        raise ObservationPurged(f"the content of {gone[0]} is no longer kept", observation_ids=gone)
    return found


def _named(selection: Selection) -> list[Observation]:
    wanted = list(dict.fromkeys(selection.selector["observation_ids"]))
    if len(wanted) > selection.max_observations:
        raise _invalid(
            f"{len(wanted)} observations are named; max_observations is {selection.max_observations}"
        )
    found = {row.observation_id: row for row in _rows().filter(observation_id__in=wanted).order_by("-id")}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ObservationMissing(f"there is no observation {missing[0]}")
    since = clock.now() - timedelta(seconds=selection.lookback_seconds)
    rows = [found[name] for name in wanted]
    return [row for row in rows if not selection.lookback_seconds or row.received_at >= since]


def _newest(selection: Selection) -> list[Observation]:
    selector, rows = selection.selector, _rows().filter(purged_at__isnull=True)
    if "source_id" in selector:
        rows = rows.filter(source=sources.get(selector["source_id"]))
    for name in ("stream_id", "capture_group_id"):
        if name in selector:
            rows = rows.filter(**{name: selector[name]})
    if selection.lookback_seconds:
        since = clock.now() - timedelta(seconds=selection.lookback_seconds)
        rows = rows.filter(received_at__gte=since)
    if selection.after:
        rows = rows.filter(pk__gt=selection.after)
    return list(rows.order_by("-id")[: selection.max_observations])[::-1]


def _rows() -> QuerySet[Observation]:
    return locked(Observation.objects.select_related("source", "asset"))


def _invalid(detail: str) -> BadRequest:
    return BadRequest(detail, code="invalid_observation_selector", domain="observations")
