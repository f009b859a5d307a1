"""The first page: what needs a person, what goes on, what went wrong. A fixed number of queries."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models import Count, Q
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse

from kheish_site.console.site import site
from kheish_site.lib import clock
from sessions_app.admin import addresses, charts, inbox, show, timeline
from sessions_app.admin.caller import principal
from sessions_app.admin.inbox import Item, Waiting
from sessions_app.admin.runtime import worker_state
from sessions_app.models import LIVE, JournalEntry, Run, RunStatus, Session, Worker
from sessions_app.services import runs
from sessions_app.services.projections.shape import one_line

SHOWN: Final = 8
TO_DECIDE: Final = 5
FAILED_HOURS: Final = 24
COUNTED: Final = 2_000
"""The number of newest runs that the bars of the last day count."""
STALE: Final = ~Q(lease_owner="")


@dataclass(frozen=True, kw_only=True)
class Card:
    """One number of the first row."""

    title: str
    number: Any
    note: Any
    url: str
    tone: str = ""
    picture: Any = ""


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the first page shows; only the refusal for people without a group."""
    if not principal(request).can_view:
        return {"console_stranger": True}
    counts, waits = inbox.waiting_for(request), inbox.items()
    recent = list(Run.objects.order_by("-pk").values_list("submitted_at", "status")[:COUNTED])
    failed, alive = _failed(), list(Worker.objects.heard()[: SHOWN + 1])
    return {
        "console_live": "swap",
        "console_cards": (
            _waiting_card(counts, waits),
            _runs_card(),
            _failed_card(len(failed), recent),
            _hours_card(recent),
        ),
        "console_items": waits[:TO_DECIDE],
        "console_more": max(counts.total - TO_DECIDE, 0),
        "console_running": _running(),
        "console_failed": [_failure(run) for run in failed[:TO_DECIDE]],
        "console_journal": _journal(),
        "console_workers": workers(alive[:SHOWN]),
        "console_alive": sum(worker_state(worker) == "live" for worker in alive),
        "console_lists": {
            "running": addresses.of_list(Run, needs="live"),
            "failed": addresses.of_list(Run, status__exact="failed"),
            "journal": addresses.of_list(JournalEntry),
            "workers": addresses.of_list(Worker),
        },
    }


def _waiting_card(counts: Waiting, waits: Sequence[Item]) -> Card:
    oldest = min((item.asked_at for item in waits), default=None)
    note: Any = "nothing waits"
    if oldest is not None:
        note = f"{counts.words}; the oldest for {show.span((clock.now() - oldest).total_seconds())}"
    return Card(
        title="Waiting for you",
        number=counts.total,
        note=note,
        url=reverse("admin:console_inbox"),
        tone="wait" if counts.total else "",
    )


def _runs_card() -> Card:
    counted = Run.objects.filter(status__in=sorted(LIVE)).aggregate(
        running=Count("pk", filter=Q(status=RunStatus.RUNNING)),
        queued=Count("pk", filter=Q(status=RunStatus.QUEUED)),
        all=Count("pk"),
    )
    stale = Session.objects.filter(STALE, lease_expires_at__lte=Now()).count()
    waits = counted["all"] - counted["running"] - counted["queued"]
    note = f"{counted['running']} running, {waits} waiting, {counted['queued']} queued"
    if stale:
        note = f"{note}; {stale} stale lease{'s' if stale != 1 else ''}"
    url = addresses.of_list(Session, state="stale") if stale else addresses.of_list(Run, needs="live")
    return Card(title="Active runs", number=counted["all"], note=note, url=url, tone="wait" if stale else "")


def _failed() -> list[Run]:
    """Return the newest failures of the last day, a few more than are shown."""
    rows = Run.objects.filter(status=RunStatus.FAILED, finished_at__gte=show.since(FAILED_HOURS))
    return list(rows.select_related("session").order_by("-pk")[:100])


def _failed_card(number: int, recent: Sequence[tuple[Any, str]]) -> Card:
    since = show.since(FAILED_HOURS)
    started = sum(moment >= since for moment, _ in recent)
    more = "+" if started == COUNTED else ""
    return Card(
        title=f"Failed, {FAILED_HOURS} h",
        number=f"{number}+" if number == 100 else number,
        note=f"of {started}{more} started",
        url=addresses.of_list(Run, status__exact="failed"),
        tone="bad" if number else "",
    )


def _hours_card(recent: Sequence[tuple[Any, str]]) -> Card:
    now, counted, failed = clock.now(), Counter[int](), Counter[int]()
    for moment, status in recent:
        hour = int((now - moment) / timedelta(hours=1))
        counted[hour] += 1
        failed[hour] += status == RunStatus.FAILED
    bars = [(counted[hour], failed[hour]) for hour in reversed(range(FAILED_HOURS))]
    return Card(
        title="Runs per hour",
        number="",
        note="red: failed" if any(failed.values()) else f"the last {FAILED_HOURS} hours",
        url=addresses.of_list(Run),
        picture=charts.bars(bars),
    )


def _running() -> list[dict[str, Any]]:
    rows = Run.objects.filter(status__in=sorted(LIVE)).select_related("session").order_by("-pk")[:SHOWN]
    return [
        {
            "run": run,
            "badge": show.badge(run.status),
            "url": addresses.of(run),
            "text": show.redact(runs.text_preview(run)) or run.run_id,
            "when": show.age(run.submitted_at),
        }
        for run in rows
    ]


def _failure(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "badge": show.badge(run.status),
        "url": addresses.of(run),
        "text": one_line(str(show.redact(run.error.get("message", ""))) or run.run_id),
        "when": show.age(run.finished_at),
    }


def _journal() -> list[tuple[timeline.Line, JournalEntry]]:
    entries = list(JournalEntry.objects.select_related("session").order_by("-pk")[:SHOWN])
    return list(zip(timeline.lines(entries), entries, strict=True))


def workers(rows: Sequence[Worker]) -> list[dict[str, Any]]:
    """Return workers with how many sessions each drives now; one query."""
    held = Session.objects.filter(lease_owner__in=[row.name for row in rows]).order_by()
    busy = dict(held.values_list("lease_owner").annotate(number=Count("pk")))
    return [
        {
            "worker": row,
            "badge": show.badge(worker_state(row)),
            "url": addresses.of(row),
            "name": timeline.worker_name(row.name),
            "busy": busy.get(row.name, 0),
            "when": show.age(row.heartbeat_at, now=row.read_at),
        }
        for row in rows
    ]


site().home = context
