"""Observations become one run: the only way from a capture to an agent."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from connectors_app.models import Materialization, MaterializationSchedule, Observation
from connectors_app.services import handles, reply_targets
from connectors_app.services.observations import frames, selection
from connectors_app.services.observations.selection import Selection
from kheish_site.lib.clock import rfc3339
from kheish_site.lib.errors import Conflict
from kheish_site.lib.ids import new_id
from kheish_site.lib.transactions import require_transaction, write
from sessions_app.models import Run, Session
from sessions_app.services import runs, sessions
from sessions_app.services.runs import NewRun

logger = logging.getLogger(__name__)
PLUGIN: Final = "observation"
SCHEDULER: Final = "scheduler"


class DeliveryRefused(Conflict):
    """A source of the selection does not allow answers to leave."""

    code, domain = "observation_delivery_refused", "observations"


class SensitiveWords(Conflict):
    """The text of a sensitive source would become part of a run's journal."""

    code, domain = "observation_text_sensitive", "observations"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to make of a selection: a run of ``session_id`` with the input ``prompt``.

    ``reply_targets`` are explicit; empty means the session's defaults where every source lets answers out,
    and only the session itself where one does not. ``may_reach_private`` networks is for an administrator's
    own request.
    """

    session_id: str
    prompt: str
    chosen: Selection
    reply_targets: Sequence[dict[str, Any]] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    route_id: str = ""
    model: str = ""
    may_reach_private: bool = False


@dataclass(frozen=True, kw_only=True)
class Fire:
    """The moment of a schedule that a materialization stands for."""

    schedule: MaterializationSchedule
    due_at: datetime


def materialize(order: Order, *, principal: str) -> Materialization:
    """Show the selected observations to the session's agent, as one run, in one commit with its record.

    Joins an open transaction. Raises: what ``selection.find`` and ``runs.submit`` raise, DeliveryRefused,
    InvalidReplyTarget, ReplyTargetForbidden.
    """
    with write():
        found = selection.find(order.chosen)
        return record(order, found, principal=principal)


def record(
    order: Order, found: Sequence[Observation], *, principal: str, fire: Fire | None = None
) -> Materialization:
    """Make the run that shows the observations, and its record. Needs an open transaction."""
    require_transaction()
    _check_raw(order, found)
    session = sessions.get(order.session_id)
    targets = _targets(order, found, session)
    made = Materialization(
        materialization_id=new_id("mat"),
        schedule=fire.schedule if fire else None,
        due_at=fire.due_at if fire else None,
        selector=dict(order.chosen.selector),
        observation_ids=[row.observation_id for row in found],
        requested_by=principal,
    )
    new = NewRun(
        input_items=frames.input_items(order.prompt, found, order.chosen.raw_asset_policy),
        route_id=order.route_id,
        model=order.model,
        metadata=order.metadata,
        source_plugin=SCHEDULER if fire else PLUGIN,
        source_kind="observation_materialization",
        actor_id=fire.schedule.schedule_id if fire else principal,
        reply_targets=targets,
        daemon_metadata=_facts(made, found, fire),
    )
    made.run = runs.submit(order.session_id, new, principal=principal, session=session)
    made.save(force_insert=True)
    logger.info(
        "observations materialized",
        extra={
            "action": "observations.materialize",
            "materialization_id": made.materialization_id,
            "run_id": made.run.run_id,
            "observations": len(found),
        },
    )
    return made


def of_run(run: Run) -> Materialization | None:
    """Return what a run was made from, or None."""
    return Materialization.objects.filter(run=run).first()


def _facts(made: Materialization, found: Sequence[Observation], fire: Fire | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "materialization_id": made.materialization_id,
        "observation_ids": made.observation_ids,
        "observation_sources": sorted({row.source.source_id for row in found}),
    }
    if fire is not None:
        facts |= {"schedule_id": fire.schedule.schedule_id, "scheduled_for": rfc3339(fire.due_at)}
    return facts


def _check_raw(order: Order, found: Sequence[Observation]) -> None:
    """Refuse ``always`` where a sensitive source keeps its file from being shown. Raises: SensitiveWords."""
    if order.chosen.raw_asset_policy != "always":
        return
    secret = [row.observation_id for row in found if frames.has_secret_words(row)]
    if secret:
        raise SensitiveWords(
            "the words of a sensitive source are not shown: viewers read what a run was given",
            observation_ids=secret,
        )


def _targets(order: Order, found: Sequence[Observation], session: Session) -> list[dict[str, Any]]:
    """Return the explicit targets, judged now; the local one if a source lets no answer out.

    Raises: DeliveryRefused, InvalidReplyTarget, NotFound(connector_not_found), ReplyTargetForbidden.
    """
    explicit = outward(order.reply_targets)
    closed = sorted({row.source.source_id for row in found if not row.source.allow_output_delivery})
    if closed and explicit:
        raise DeliveryRefused(f"{closed[0]} lets no answer out", sources=closed)
    if closed:
        return [handles.normal({"plugin": handles.LOCAL, "address": order.session_id})]
    if not order.reply_targets:
        return []
    return reply_targets.judged(
        order.reply_targets,
        credential_scope=session.credential_scope,
        may_reach_private=order.may_reach_private,
    )


def outward(targets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the targets in normal form, or none when all of them are local. Raises: InvalidReplyTarget."""
    found = handles.normal_list(targets)
    return found if any(handle["plugin"] != handles.LOCAL for handle in found) else []
