"""Observation sources: who may send captures, how much of it, and what may be done with it."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from connectors_app.models import ObservationKind, ObservationSource
from connectors_app.services.observations import source_tokens, stored
from kheish_site.lib import clock, revisions
from kheish_site.lib.errors import BadRequest, Conflict, NotFound
from kheish_site.lib.transactions import locked, write
from sessions_app.services import audit

logger = logging.getLogger(__name__)

DAY_LIMIT: Final = 3_650
COUNT_LIMIT: Final = 1_000_000
BYTES_LIMIT: Final = 2**50
_BOUNDS: Final = {
    "retention_days": DAY_LIMIT,
    "retention_count": COUNT_LIMIT,
    "retention_bytes": BYTES_LIMIT,
    "burst_count": 100_000,
    "burst_seconds": 86_400,
}


class SourceMissing(NotFound):
    """No such observation source."""

    code, domain = "observation_source_not_found", "observations"


class SourceDisabled(Conflict):
    """The source takes nothing now."""

    code, domain = "observation_source_disabled", "observations"


@dataclass(frozen=True, kw_only=True)
class SourceFields:
    """What an admin may set on a source beside its id and kind."""

    sensitive: bool = True
    retention_days: int = 7
    retention_count: int = 512
    retention_bytes: int = 512 * 1024 * 1024
    burst_count: int = 120
    burst_seconds: int = 60
    allow_raw_purge: bool = False
    allow_materialization: bool = True
    allow_output_delivery: bool = False
    enabled: bool = True


def everything() -> QuerySet[ObservationSource]:
    """Return all sources."""
    return ObservationSource.objects.all()


def get(source_id: str) -> ObservationSource:
    """Return one source. Raises: SourceMissing."""
    found = ObservationSource.objects.filter(source_id=source_id).first()
    if found is None:
        raise _missing(source_id)
    return found


def create(
    source_id: str, kind: str, fields: SourceFields, *, principal: str
) -> tuple[ObservationSource, str]:
    """Make a source; return it with its first token, which cannot be read again.

    Raises: BadRequest(invalid_observation_source), Conflict(observation_source_exists).
    """
    if kind not in ObservationKind.values:
        raise _invalid(f"a source is one of {', '.join(ObservationKind.values)}")
    values = asdict(fields)
    _check(values)
    disabled_at = None if values.pop("enabled") else clock.now()
    with write():
        try:
            with transaction.atomic():
                source = ObservationSource.objects.create(
                    source_id=source_id, kind=kind, created_by=principal, disabled_at=disabled_at, **values
                )
        except IntegrityError:
            raise Conflict(
                f"there is an observation source {source_id} already",
                code="observation_source_exists",
                domain="observations",
            ) from None
        _, secret = source_tokens.issue(source, principal=principal)
        audit.record("source.created", "observation_source", source_id, after={"kind": kind, **values})
    logger.info("source created", extra={"action": "observations.source.create", "source_id": source_id})
    return source, secret


def update(
    source_id: str, changes: Mapping[str, Any], *, expected: frozenset[int] | None
) -> ObservationSource:
    """Change the named members of a source; they hold from the next upload and the next purge on.

    ``expected`` are revisions the caller has seen (None: any).
    Raises: SourceMissing, PreconditionFailed, BadRequest(invalid_observation_source).
    """
    _check(changes)
    with write():
        source = _seen(source_id, expected)
        was = {name: getattr(source, name) for name in changes if name != "enabled"}
        was |= {"enabled": source.disabled_at is None}
        for name, value in changes.items():
            if name == "enabled":
                source.disabled_at = None if value else source.disabled_at or clock.now()
            else:
                setattr(source, name, value)
        source.revision += 1
        named = ["disabled_at" if name == "enabled" else name for name in changes]
        source.save(update_fields=[*named, "revision", "updated_at"])
        after = {**changes, "enabled": source.disabled_at is None}
        audit.record("source.updated", "observation_source", source_id, before=was, after=after)
    logger.info("source changed", extra={"action": "observations.source.update", "source_id": source_id})
    return source


def delete(source_id: str, *, expected: frozenset[int] | None) -> None:
    """Remove a source with its tokens, schedules and observations. Runs made from them stay.

    Raises: SourceMissing, PreconditionFailed.
    """
    with write():
        source = _seen(source_id, expected)
        stored.let_go(source.observations.filter(purged_at=None).values_list("observation_id", flat=True))
        source.delete()
        audit.record("source.deleted", "observation_source", source_id)
    logger.info("source deleted", extra={"action": "observations.source.delete", "source_id": source_id})


def _seen(source_id: str, expected: frozenset[int] | None) -> ObservationSource:
    """Return the source under its row lock. Raises: SourceMissing, PreconditionFailed."""
    source = locked(ObservationSource.objects.filter(source_id=source_id)).first()
    if source is None:
        raise _missing(source_id)
    revisions.check(source.revision, expected)
    return source


def _check(values: Mapping[str, Any]) -> None:
    for name, largest in _BOUNDS.items():
        if name in values and not 1 <= values[name] <= largest:
            raise _invalid(f"{name} is a whole number from 1 to {largest}")


def _missing(source_id: str) -> SourceMissing:
    return SourceMissing(f"there is no observation source {source_id}")


def _invalid(detail: str) -> BadRequest:
    return BadRequest(detail, code="invalid_observation_source", domain="observations")
