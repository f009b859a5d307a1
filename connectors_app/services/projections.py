"""Connectors as clients see them: without secrets, with their latest activity."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from django.db.models import Count, IntegerField, OuterRef, Subquery, Sum

from connectors_app.models import Connector, IngressReceipt, IngressRefusal
from connectors_app.services import connectors, health, registry
from kheish_site.lib import clock
from kheish_site.lib.redaction import redact

WINDOW_SECONDS: Final = 3600
_SLOTS: Final = "credential_slots"


def connector_views(rows: Iterable[Connector]) -> list[dict[str, Any]]:
    """Return the connectors in the order given; three queries, and at most one more a kind."""
    shown = list(rows)
    pks = [row.pk for row in shown]
    activity = {row["pk"]: row for row in _activity(pks)}
    refusals: dict[int, list[IngressRefusal]] = defaultdict(list)
    for refusal in IngressRefusal.objects.filter(connector_id__in=pks).order_by("-last_at"):
        refusals[refusal.connector_id].append(refusal)
    problems = health.problems(shown)
    return [_view(row, activity.get(row.pk, {}), refusals[row.pk], problems.get(row.pk, [])) for row in shown]


def _activity(pks: list[int]) -> Iterable[dict[str, Any]]:
    """Return for each connector its newest event, and how many there were within the window."""
    since = clock.now() - timedelta(seconds=WINDOW_SECONDS)
    receipts = IngressReceipt.objects.filter(connector=OuterRef("pk"))
    recent = receipts.filter(accepted_at__gte=since).order_by().values("connector")
    rows = Connector.objects.filter(pk__in=pks).annotate(
        last=Subquery(receipts.order_by("-id").values("accepted_at")[:1]),
        n=Subquery(recent.annotate(n=Count("pk")).values("n"), output_field=IntegerField()),
        repeats=Subquery(recent.annotate(n=Sum("duplicates")).values("n"), output_field=IntegerField()),
    )
    return [dict(row) for row in rows.values("pk", "last", "n", "repeats")]


def _view(
    row: Connector, activity: dict[str, Any], refusals: list[IngressRefusal], problems: list[str]
) -> dict[str, Any]:
    secrets = {field: _secret(row, field) for field in _secret_fields(row)}
    return {
        "kind": row.kind,
        "name": row.name,
        "source": row.source,
        "status": _status(row, problems),
        "problems": problems,
        "settings": _settings(connectors.shown_settings(row)),
        "secrets": secrets,
        "enabled": row.enabled,
        "paused_at": clock.rfc3339(row.paused_at),
        "activity": {
            "window_seconds": WINDOW_SECONDS,
            "accepted_events": activity.get("n") or 0,
            "duplicate_events": activity.get("repeats") or 0,
            "refused_events": sum(refusal.count for refusal in refusals),
            "last_event_at": clock.rfc3339(activity.get("last")),
            "refusals": [
                {
                    "code": refusal.code,
                    "count": refusal.count,
                    "detail": refusal.detail,
                    "last_at": clock.rfc3339(refusal.last_at),
                }
                for refusal in refusals[:10]
            ],
        },
        "revision": row.revision,
        "created_at": clock.rfc3339(row.created_at),
        "updated_at": clock.rfc3339(row.updated_at),
    }


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without secrets. Names of slots stay readable under a variable named like a secret.

    A kind stores nothing there but names of existing slots, so no secret value can be shown.
    """
    shown: dict[str, Any] = redact(settings)
    for block, given in settings.items():
        if isinstance(given, Mapping) and isinstance(given.get(_SLOTS), Mapping):
            shown[block][_SLOTS] = {redact(name): redact(slot) for name, slot in given[_SLOTS].items()}
    return shown


def _secret_fields(row: Connector) -> list[str]:
    kind = registry.kind(row.kind)
    return sorted({*(kind.secrets if kind else ()), *row.secrets})


def _secret(row: Connector, field: str) -> dict[str, Any]:
    place = row.secrets.get(field)
    if place is None:
        return {"configured": False}
    named = {"secret_ref": place["slot"]} if place["origin"] == "secret_ref" else {}
    named |= {"env": place["env"]} if place["origin"] == "env" else {}
    return {"configured": True, "source": place["origin"], **named}


def _status(row: Connector, problems: list[str]) -> str:
    if not row.enabled:
        return "disabled"
    if row.paused_at is not None:
        return "paused"
    return "error" if problems else "ok"
