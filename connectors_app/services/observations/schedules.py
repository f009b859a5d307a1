"""Showing a source to an agent at intervals: each fire makes at most one run, whichever worker dies.

The fire, its run and the next due moment commit together under the schedule's row lock: a second worker finds
nothing due, and a worker that dies leaves the schedule due. ``Materialization`` is unique for a schedule and
a moment, as the last line of defence.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from connectors_app.models import Materialization, MaterializationSchedule, ObservationSource
from connectors_app.services import reply_targets
from connectors_app.services.observations import materialize, selection
from connectors_app.services.observations.materialize import Fire, Order
from connectors_app.services.observations.selection import RawAssetPolicy, Selection
from kheish_site.lib import clock
from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.errors import BadRequest, KheishError, NotFound
from kheish_site.lib.ids import new_id
from kheish_site.lib.in_turn import each
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import AWAY, locked, write
from sessions_app.models import LIVE
from sessions_app.services import sessions

logger = logging.getLogger(__name__)

SHORTEST_SECONDS: Final = 5
LONGEST_SECONDS: Final = 31 * 86_400
BATCH: Final = 100


class ScheduleMissing(NotFound):
    """The source has no such schedule."""

    code, domain = "observation_schedule_not_found", "observations"


@dataclass(frozen=True, kw_only=True)
class NewSchedule:
    """What to show and how often. Without ``stream_id`` all streams of the source count."""

    session_id: str
    prompt: str
    interval_seconds: int
    stream_id: str = ""
    max_observations: int = 3
    lookback_seconds: int = 0
    raw_asset_policy: RawAssetPolicy = "auto"
    fail_when_empty: bool = True
    new_only: bool = True
    reply_targets: list[dict[str, Any]] = field(default_factory=list)


def create(source: ObservationSource, new: NewSchedule, *, principal: str) -> MaterializationSchedule:
    """Make a schedule of a source; it first fires after one interval.

    Its targets are judged now and again at each fire, and never lead into a private network: its creator may
    not be an administrator by then. Raises: BadRequest(invalid_observation_schedule), SessionMissing,
    SessionEnded, MaterializationRefused, DeliveryRefused, InvalidReplyTarget, ReplyTargetForbidden.
    """
    if not SHORTEST_SECONDS <= new.interval_seconds <= LONGEST_SECONDS:
        raise BadRequest(
            f"interval_seconds is a whole number from {SHORTEST_SECONDS} to {LONGEST_SECONDS}",
            code="invalid_observation_schedule",
            domain="observations",
        )
    if not source.allow_materialization:
        raise selection.MaterializationRefused(f"{source.source_id} may not be materialized")
    explicit = materialize.outward(new.reply_targets)
    if explicit and not source.allow_output_delivery:
        raise materialize.DeliveryRefused(f"{source.source_id} lets no answer out")
    if any(handle["address"].get("allow_private_network") for handle in explicit):
        raise reply_targets.ReplyTargetForbidden("a schedule answers into no private network")
    options = asdict(new)
    for column in ("session_id", "prompt", "interval_seconds", "new_only"):
        options.pop(column)
    options["reply_targets"] = explicit
    with write():
        session = sessions.get(new.session_id)
        reply_targets.judged(explicit, credential_scope=session.credential_scope, may_reach_private=False)
        made = MaterializationSchedule.objects.create(
            schedule_id=new_id("osc"),
            source=source,
            session=session,
            interval_seconds=new.interval_seconds,
            prompt=redact(new.prompt),
            options=options,
            new_only=new.new_only,
            next_due_at=clock.now() + timedelta(seconds=new.interval_seconds),
            created_by=principal,
        )
    logger.info(
        "schedule created",
        extra={"action": "observations.schedule.create", "schedule_id": made.schedule_id},
    )
    return made


def everything(source: ObservationSource) -> QuerySet[MaterializationSchedule]:
    """Return the schedules of a source."""
    return rows().filter(source=source)


def rows() -> QuerySet[MaterializationSchedule]:
    """Return schedules with what their views need."""
    return MaterializationSchedule.objects.select_related("source", "session", "last_run")


def delete(source: ObservationSource, schedule_id: str) -> None:
    """Remove a schedule; its runs stay. Raises: ScheduleMissing."""
    with write():
        row = locked(MaterializationSchedule.objects.filter(source=source, schedule_id=schedule_id)).first()
        if row is None:
            raise ScheduleMissing(f"{source.source_id} has no schedule {schedule_id}")
        row.delete()
    logger.info(
        "schedule deleted", extra={"action": "observations.schedule.delete", "schedule_id": schedule_id}
    )


def fire_due() -> int:
    """Fire the due schedules, each in a transaction of its own; return how many runs were made."""
    now = clock.now()
    due = _idle(MaterializationSchedule.objects.filter(next_due_at__lte=now)).order_by("next_due_at")
    pks = list(due.values_list("pk", flat=True)[:BATCH])
    return each(pks, lambda pk: fire(pk, now) is not None, action="observations.schedule.fire")


def fire(schedule_pk: int, now: datetime) -> Materialization | None:
    """Fire one schedule if it is still due, and set its next moment; None when that made no run.

    A refusal (nothing new, the session has ended) is written on the schedule and is not retried at once.
    """
    with write():
        found = _idle(MaterializationSchedule.objects.filter(pk=schedule_pk, next_due_at__lte=now))
        row = locked(found.select_related("source", "session")).first()
        if row is None:
            return None
        due_at = _last_due(row, now)
        made = _attempt(row, due_at)
        row.next_due_at = due_at + timedelta(seconds=row.interval_seconds)
        row.save(update_fields=_WRITTEN)
        crashpoint("observation_schedule.before_commit")
    crashpoint("observation_schedule.after_commit")
    return made


_WRITTEN: Final = (
    "next_due_at", "last_fired_at", "last_run", "last_outcome", "last_detail", "seen_through",
)  # fmt: skip


def _idle(rows: QuerySet[MaterializationSchedule]) -> QuerySet[MaterializationSchedule]:
    """Leave out schedules whose last run has not ended: a slow agent must not be buried in runs."""
    return rows.exclude(last_run__status__in=sorted(LIVE))


def _last_due(row: MaterializationSchedule, now: datetime) -> datetime:
    """Return the latest due moment that has passed: one fire stands for all that were missed."""
    step = timedelta(seconds=row.interval_seconds)
    return row.next_due_at + (now - row.next_due_at) // step * step


def _attempt(row: MaterializationSchedule, due_at: datetime) -> Materialization | None:
    try:
        with transaction.atomic():
            made, seen = _submit(row, due_at)
    except KheishError as refusal:
        row.last_outcome, row.last_detail = refusal.error_code, redact(refusal.detail)[:500]
        return None
    except AWAY:
        raise
    except Exception:  # the edge of a fire: it is tried again at its next moment
        extra = {"action": "observations.schedule.fire", "schedule_id": row.schedule_id}
        logger.exception("a schedule did not fire", extra=extra)
        row.last_outcome, row.last_detail = "internal_error", "the log of the worker says more"
        return None
    row.last_outcome, row.last_detail, row.last_fired_at = "fired", "", due_at
    row.last_run, row.seen_through = made.run, max(row.seen_through, seen)
    return made


def _submit(row: MaterializationSchedule, due_at: datetime) -> tuple[Materialization, int]:
    chosen = _chosen(row)
    found = selection.find(chosen)
    order = Order(
        session_id=row.session.session_id,
        prompt=row.prompt,
        chosen=chosen,
        reply_targets=row.options.get("reply_targets", []),
    )
    made = materialize.record(order, found, principal=row.created_by, fire=Fire(schedule=row, due_at=due_at))
    return made, max((shown.pk for shown in found), default=0)


def _chosen(row: MaterializationSchedule) -> Selection:
    options: Mapping[str, Any] = row.options
    selector = {"type": "latest_from_source", "source_id": row.source.source_id}
    if options.get("stream_id"):
        selector |= {"type": "latest_from_stream", "stream_id": options["stream_id"]}
    return Selection(
        selector=selector,
        max_observations=options["max_observations"],
        lookback_seconds=options["lookback_seconds"],
        raw_asset_policy=options["raw_asset_policy"],
        fail_when_empty=options["fail_when_empty"],
        after=row.seen_through if row.new_only else 0,
    )
