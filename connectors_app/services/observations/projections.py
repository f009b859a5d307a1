"""Sources, observations and schedules as clients see them, without tokens and content."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Max, Q, Sum

from connectors_app.models import (
    MaterializationSchedule,
    Observation,
    ObservationSource,
    ObservationToken,
)
from connectors_app.services.observations import source_tokens
from kheish_site.lib.redaction import redact
from sessions_app.services.principal import Principal
from sessions_app.services.projections.shape import View, known, time

_COLUMNS = (
    "sensitive", "retention_days", "retention_count", "retention_bytes", "burst_count", "burst_seconds",
    "allow_raw_purge", "allow_materialization", "allow_output_delivery",
)  # fmt: skip


def source_views(rows: Iterable[ObservationSource]) -> list[View]:
    """Return the sources in the order given; two more queries, whatever their number."""
    sources = list(rows)
    pks = [row.pk for row in sources]
    tokens: dict[int, list[ObservationToken]] = defaultdict(list)
    for token in source_tokens.all_live().filter(source_id__in=pks).order_by("id"):
        tokens[token.source_id].append(token)
    kept = Q(purged_at__isnull=True)
    counted = Observation.objects.filter(source_id__in=pks).order_by().values("source_id")
    counted = counted.annotate(
        number=Count("pk", filter=kept), size=Sum("size_bytes", filter=kept), last=Max("received_at")
    )
    content: dict[int, dict[str, Any]] = {row["source_id"]: dict(row) for row in counted}
    return [_source(row, tokens[row.pk], content.get(row.pk, {})) for row in sources]


def _source(row: ObservationSource, tokens: list[ObservationToken], content: dict[str, Any]) -> View:
    return {
        "source_id": row.source_id,
        "kind": row.kind,
        **{name: getattr(row, name) for name in _COLUMNS},
        "enabled": row.disabled_at is None,
        "observations": {
            "count": content.get("number", 0),
            "size_bytes": content.get("size") or 0,
            **known(last_received_at=time(content.get("last"))),
        },
        "tokens": [token_view(token) for token in tokens],
        "revision": row.revision,
        "created_by": row.created_by,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def token_view(row: ObservationToken) -> View:
    """Return one upload token without its secret; one with ``expires_at`` has been replaced by another."""
    return {
        "token_id": row.token_id,
        "created_by": row.created_by,
        "created_at": time(row.created_at),
        **known(expires_at=time(row.expires_at), last_used_at=time(row.last_used_at)),
    }


def withheld(row: Observation, principal: Principal) -> bool:
    """Tell whether the details of an observation of a sensitive source are hidden from this caller."""
    return row.source.sensitive and not principal.can_operate


def observation_view(row: Observation, principal: Principal) -> View:
    """Return one observation. A viewer sees only that a sensitive one exists, and when it came."""
    hidden = withheld(row, principal)
    asset = row.asset.asset_id if row.asset is not None and not hidden else None
    shown: View = {} if hidden else {"file_name": row.file_name, "metadata": redact(row.metadata)}
    return {
        "observation_id": row.observation_id,
        "source_id": row.source.source_id,
        "kind": row.source.kind,
        "media_type": row.media_type,
        "size_bytes": row.size_bytes,
        "sensitive": row.source.sensitive,
        "withheld": hidden,
        **shown,
        **known(
            asset_id=asset,
            sha256=None if hidden else row.sha256,
            stream_id=row.stream_id or None,
            capture_group_id=row.capture_group_id or None,
            purged_at=time(row.purged_at),
            purge_reason=row.purge_reason or None,
        ),
        "captured_at": time(row.captured_at),
        "received_at": time(row.received_at),
    }


def observation_views(rows: Iterable[Observation], principal: Principal) -> list[View]:
    """Return the observations in the order given, without another query."""
    return [observation_view(row, principal) for row in rows]


def schedule_views(rows: Iterable[MaterializationSchedule]) -> list[View]:
    """Return the schedules in the order given, without another query."""
    return [
        {
            "schedule_id": row.schedule_id,
            "source_id": row.source.source_id,
            "session_id": row.session.session_id,
            "interval_seconds": row.interval_seconds,
            "prompt": redact(row.prompt),
            "new_only": row.new_only,
            **{name: row.options[name] for name in _OPTIONS},
            "explicit_targets": len(row.options["reply_targets"]),
            "next_due_at": time(row.next_due_at),
            **known(
                last_fired_at=time(row.last_fired_at),
                last_run_id=row.last_run.run_id if row.last_run is not None else None,
                last_outcome=row.last_outcome or None,
                last_detail=redact(row.last_detail) or None,
            ),
            "created_by": row.created_by,
            "created_at": time(row.created_at),
        }
        for row in rows
    ]


_OPTIONS = ("stream_id", "max_observations", "lookback_seconds", "raw_asset_policy", "fail_when_empty")
