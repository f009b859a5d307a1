"""Runs as clients see them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import redact
from sessions_app.models import WAITING, Run, RunStatus
from sessions_app.services import personas, reply_targets
from sessions_app.services.projections.open_items import Open, open_items
from sessions_app.services.projections.shape import View, known, time
from sessions_app.services.runs import text_preview
from sessions_app.services.waiting_kinds import KINDS

_WAITS_FOR: Final[Mapping[str, str]] = {
    **{kind.waits: kind.noun for kind in KINDS},
    RunStatus.WAITING_FOR_BUDGET: "budget",
}
_NAMED: Final = 3  # calls that a summary names before it only counts


def run_rows() -> QuerySet[Run]:
    """Return all runs with what their views need."""
    return Run.objects.select_related("session", "persona__persona")


def run_view(row: Run) -> View:
    """Return one run."""
    return run_views([row])[0]


def run_views(rows: Iterable[Run]) -> list[View]:
    """Return the runs in the order given.

    One query more when some of them are queued, three more when some wait for a person.
    """
    runs = list(rows)
    places = _places([run for run in runs if run.status == RunStatus.QUEUED])
    waits = open_items([run.pk for run in runs if run.status in WAITING])
    return [_view(run, places.get(run.pk), waits.get(run.pk, ())) for run in runs]


def _places(queued: Sequence[Run]) -> dict[int, int]:
    """Return the place of each queued run in its session, from 1."""
    if len(queued) == 1:
        return {queued[0].pk: _place(queued[0])}
    if not queued:
        return {}
    ahead = Run.objects.filter(
        session=OuterRef("session"), status=RunStatus.QUEUED, position__lte=OuterRef("position")
    ).order_by()
    counted = ahead.values("session").annotate(number=Count("pk")).values("number")
    place = Coalesce(Subquery(counted, output_field=IntegerField()), 1)
    found = Run.objects.filter(pk__in=[run.pk for run in queued]).annotate(place=place)
    return dict(found.values_list("pk", "place"))


def _place(run: Run) -> int:
    """Return the place of one queued run: the same, by a query that is built once, if at all."""
    if run.accepted_place is not None:
        return run.accepted_place
    found = _UP_TO.first(run.session_id, run.position)
    return found[0] if found else 1


def _up_to(session_pk: int, position: int) -> QuerySet[Any, Any]:
    waiting = Run.objects.filter(session_id=session_pk, status=RunStatus.QUEUED, position__lte=position)
    return waiting.order_by().values("session").annotate(number=Count("pk")).values_list("number")


_UP_TO: Final = Prepared[tuple[int]](_up_to, int, int)


def _waiting_for(run: Run, waits: Sequence[Open]) -> View | None:
    kind = _WAITS_FOR.get(run.status)
    if kind is None:
        return None
    items = [item for item in waits if item.kind == kind]
    named = "; ".join(item.about for item in items[:_NAMED])
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return {"kind": kind, "ids": [item.item_id for item in items], "summary": f"{named}{more}" or kind}


def _pending_ids(waits: Sequence[Open]) -> View:
    return {
        f"pending_{kind.noun}_ids": [item.item_id for item in waits if item.kind == kind.noun]
        for kind in KINDS
    }


def _view(run: Run, place: int | None, waits: Sequence[Open]) -> View:
    view: dict[str, Any] = {
        "run_id": run.run_id,
        "session_id": run.session.session_id,
        "kind": run.kind,
        "status": run.status,
        **known(queued_position=place),
        "step": run.step,
        "max_steps": run.max_steps,
        "route_id": run.route_id,
        "model": run.model,
        "permission_mode": run.permission_mode,
        **known(persona=personas.revision_view(run.persona) if run.persona else None),
        "request": {
            "source_plugin": run.source_plugin,
            "source_kind": run.source_kind,
            "actor_id": run.actor_id,
            **known(requested_by=run.requested_by or None),
            "text_preview": redact(text_preview(run)),
        },
        "input_items": redact(run.input_items),
        "metadata": redact(run.metadata),
        "reply_targets": reply_targets.shown(run.reply_targets),
        **_pending_ids(waits),
        **known(waiting_for=_waiting_for(run, waits)),
        "outputs": redact(run.outputs),
        "usage": {"input_tokens": run.input_tokens, "output_tokens": run.output_tokens},
        **known(error=redact(run.error) or None, stop_requested=run.stop_requested or None),
        "recovered_count": run.recovered_count,
        "submitted_at": time(run.submitted_at),
        **known(started_at=time(run.started_at), finished_at=time(run.finished_at)),
        "updated_at": time(run.updated_at),
    }
    return view
