"""What needs a person now: the top of the first page, at a fixed number of queries whatever there is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Min, Q

from kheish_site.lib import clock
from sessions_app.admin import show
from sessions_app.admin.runtime import worker_state
from sessions_app.models import (
    LIVE,
    Approval,
    ApprovalStatus,
    DecisionStatus,
    OperatorDecision,
    QuestionStatus,
    Run,
    RunStatus,
    Session,
    UserQuestion,
    Worker,
)
from sessions_app.services import runs
from sessions_app.services.projections.shape import call_summary, one_line

SHOWN: Final = 8
FAILED_HOURS: Final = 24


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How much waits for a person. Three counts over partial indexes."""

    approvals: int
    questions: int
    decisions: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.approvals + self.questions + self.decisions


@dataclass(frozen=True, kw_only=True)
class Card:
    """One number of the first row."""

    title: str
    number: int
    note: Any
    url: str
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of a panel."""

    status: Any
    link: Any
    about: Any
    when: Any


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A list of lines, with where to see all of them and what it says when there are none."""

    title: str
    items: Sequence[Item]
    url: str
    empty: str
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What an app above adds: a card and a panel of what needs a person there."""

    card: Card
    panel: Panel


_ADDITIONS: list[Callable[[], Addition]] = []


def add(gather: Callable[[], Addition]) -> None:
    """Let the first page show what ``gather`` returns; it must make a fixed number of queries."""
    _ADDITIONS.append(gather)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The whole block."""

    cards: Sequence[Card]
    panels: Sequence[Panel]


def waiting() -> Waiting:
    """Count what is pending."""
    return Waiting(
        approvals=Approval.objects.filter(status=ApprovalStatus.PENDING).count(),
        questions=UserQuestion.objects.filter(status=QuestionStatus.PENDING).count(),
        decisions=OperatorDecision.objects.filter(status=DecisionStatus.PENDING).count(),
    )


def overview(counts: Waiting) -> Overview:
    """Gather the block; ``counts`` as ``waiting`` found them."""
    workers, failed = list(Worker.objects.all()[: SHOWN + 1]), _failed()
    more = [gather() for gather in _ADDITIONS]
    added = [addition.card for addition in more]
    return Overview(
        cards=(
            _waiting_card(counts),
            _runs_card(),
            _failed_card(len(failed)),
            *added,
            _workers_card(workers),
        ),
        panels=(
            _needs_a_person(),
            _running(),
            _failures(failed),
            *(addition.panel for addition in more),
            _workers(workers),
        ),
    )


def _waiting_card(counts: Waiting) -> Card:
    oldest = _oldest() if counts.total else None
    parts = [
        f"{number} {word}"
        for number, word in (
            (counts.approvals, "to approve"),
            (counts.questions, "to answer"),
            (counts.decisions, "to decide"),
        )
        if number
    ]
    note = (
        f"{', '.join(parts)}; the oldest for {show.span((clock.now() - oldest).total_seconds())}"
        if oldest
        else ""
    )
    return Card(
        title="Waiting for you",
        number=counts.total,
        note=note or "nothing waits",
        url=_first_list(counts),
        tone="wait" if counts.total else "",
    )


def _first_list(counts: Waiting) -> str:
    if counts.decisions and not counts.approvals and not counts.questions:
        return show.list_url(OperatorDecision, status__exact="pending")
    if counts.questions and not counts.approvals:
        return show.list_url(UserQuestion, status__exact="pending")
    return show.list_url(Approval, status__exact="pending")


def _oldest() -> datetime | None:
    moments = [
        model._default_manager.filter(status="pending").aggregate(at=Min("created_at"))["at"]
        for model in (Approval, UserQuestion, OperatorDecision)
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def _runs_card() -> Card:
    counted = Run.objects.filter(status__in=sorted(LIVE)).aggregate(
        running=Count("pk", filter=Q(status=RunStatus.RUNNING)),
        queued=Count("pk", filter=Q(status=RunStatus.QUEUED)),
        all=Count("pk"),
    )
    stale = Session.objects.filter(~Q(lease_owner=""), lease_expires_at__lte=clock.now()).count()
    waits = counted["all"] - counted["running"] - counted["queued"]
    note = f"{counted['running']} running, {waits} waiting, {counted['queued']} queued"
    if stale:
        note = f"{note}; {stale} stale lease{'s' if stale != 1 else ''}"
    url = show.list_url(Session, state="stale") if stale else show.list_url(Run, needs="live")
    return Card(
        title="Runs not over", number=counted["all"], note=note, url=url, tone="wait" if stale else ""
    )


def _failed() -> list[Run]:
    """Return the newest failures of the last day, a few more than are shown."""
    rows = Run.objects.filter(status=RunStatus.FAILED, finished_at__gte=show.since(FAILED_HOURS))
    return list(rows.select_related("session").order_by("-pk")[:100])


def _failed_card(number: int) -> Card:
    return Card(
        title=f"Failed, {FAILED_HOURS} h",
        number=number,
        note="100 or more" if number == 100 else "see them" if number else "none",
        url=show.list_url(Run, status__exact="failed"),
        tone="bad" if number else "",
    )


def _workers_card(workers: list[Worker]) -> Card:
    live = [worker for worker in workers if worker_state(worker) == "live"]
    slots = sum(worker.slots for worker in live)
    return Card(
        title="Workers",
        number=len(live),
        note=f"{slots} runs at once" if live else "runs wait until one starts",
        url=show.list_url(Worker),
        tone="" if live else "bad",
    )


def _needs_a_person() -> Panel:
    found: list[tuple[Any, Item]] = []
    for approval in _pending(Approval):
        about = call_summary(approval.tool_name, approval.arguments)
        found.append((approval.created_at, _item("approve", approval, about)))
    for question in _pending(UserQuestion):
        texts = " / ".join(str(item.get("question", "")) for item in question.questions)
        found.append((question.created_at, _item("answer", question, one_line(show.redact(texts)))))
    for decision in _pending(OperatorDecision, "tool_call"):
        about = call_summary(decision.tool_call.tool_name, decision.tool_call.arguments)
        found.append((decision.created_at, _item("decide", decision, f"did it happen? {about}")))
    found.sort(key=lambda pair: pair[0])
    return Panel(
        title="Needs a decision",
        items=[item for _, item in found[:SHOWN]],
        url=show.list_url(Approval, status__exact="pending"),
        empty="Nothing waits for a person. New requests appear here.",
    )


def _pending(model: Any, *related: str) -> list[Any]:
    rows = model._default_manager.filter(status="pending").select_related("session", *related)
    return list(rows.order_by("pk")[:SHOWN])


def _item(what: str, row: Any, about: str) -> Item:
    return Item(
        status=show.badge_as("wait", what),
        link=show.link(row, about),
        about=show.short(row.session.session_id),
        when=show.age(row.created_at),
    )


def _running() -> Panel:
    rows = Run.objects.filter(status__in=sorted(LIVE)).select_related("session").order_by("-pk")[:SHOWN]
    return Panel(
        title="Going on now",
        items=[_run_item(run, run.submitted_at) for run in rows],
        url=show.list_url(Run, needs="live"),
        empty="No run is going on. Start one:",
        command='python3 manage.py sessions input demo "Say hello" --follow',
    )


def _run_item(run: Run, moment: datetime | None) -> Item:
    return Item(
        status=show.badge(run.status),
        link=show.link(run, show.redact(runs.text_preview(run)) or run.run_id),
        about=show.short(run.session.session_id),
        when=show.age(moment),
    )


def _failures(failed: list[Run]) -> Panel:
    items = [
        Item(
            status=show.badge(run.status),
            link=show.link(run, one_line(str(show.redact(run.error.get("message", ""))) or run.run_id)),
            about=show.short(run.session.session_id),
            when=show.age(run.finished_at),
        )
        for run in failed[:SHOWN]
    ]
    return Panel(
        title=f"Failed in the last {FAILED_HOURS} hours",
        items=items,
        url=show.list_url(Run, status__exact="failed"),
        empty="No run failed.",
    )


def _workers(workers: list[Worker]) -> Panel:
    items = [
        Item(
            status=show.badge(worker_state(worker)),
            link=show.link(worker, worker.name),
            about=f"{worker.slots} slots",
            when=show.age(worker.heartbeat_at),
        )
        for worker in workers[:SHOWN]
    ]
    return Panel(
        title="Workers",
        items=items,
        url=show.list_url(Worker),
        empty="No worker is alive: runs wait until one starts.",
        command="python3 manage.py serve",
    )
