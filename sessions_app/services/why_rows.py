"""What ``why`` reads: for any number of live runs, the rows that say why each stands where it stands.

A fixed number of queries, each over the index of what is live: two when runs queue, three when one waits for
people, four when one runs, one for the workers and one for busy slots when one is due.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, F, IntegerField, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now

from kheish_site.lib import clock
from sessions_app.models import (
    LIVE,
    WAITING,
    JournalEntry,
    Run,
    RunStatus,
    Session,
    ShellTask,
    Step,
    TaskStatus,
    ToolCall,
    ToolCallState,
    Worker,
)
from sessions_app.services.projections.open_items import Open, open_items


@dataclass(frozen=True, kw_only=True)
class Place:
    """How many live runs of its session a queued run has before it, and the first of them."""

    ahead: int
    head_pk: int


@dataclass(kw_only=True)
class Facts:
    """What was read, by row id of a run. ``steps``, ``calls``, ``tasks`` and ``last`` are of running ones.

    ``now`` is the database's, by which leases live, where a worker's row has it.
    """

    now: datetime
    places: dict[int, Place] = field(default_factory=dict)
    heads: dict[int, Run] = field(default_factory=dict)
    open: dict[int, list[Open]] = field(default_factory=dict)
    steps: dict[int, Step] = field(default_factory=dict)
    calls: dict[int, ToolCall] = field(default_factory=dict)
    tasks: dict[int, ShellTask] = field(default_factory=dict)
    last: dict[int, JournalEntry] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    busy: int = 0

    def head_of(self, run: Run) -> Run:
        """Return the run that decides when ``run`` goes on: the head of its session, perhaps itself."""
        place = self.places.get(run.pk)
        return run if place is None else self.heads.get(place.head_pk, run)


def read(runs: Iterable[Run]) -> Facts:
    """Return the facts about ``runs``, which were read with their sessions; ended ones cost nothing."""
    live = [run for run in runs if run.status in LIVE]
    facts = Facts(now=clock.now())
    queued = [run for run in live if run.status == RunStatus.QUEUED]
    if queued:
        _read_places(facts, queued)
    deciding = {head.pk: head for head in map(facts.head_of, live)}.values()
    facts.open = open_items([run.pk for run in deciding if run.status in WAITING])
    _read_work(facts, [run.pk for run in deciding if run.status == RunStatus.RUNNING])
    if any(run.status not in WAITING for run in deciding):
        facts.workers = list(Worker.objects.heard().order_by("-heartbeat_at"))
        if facts.workers:
            facts.now = facts.workers[0].read_at
    if any(run.status == RunStatus.QUEUED for run in deciding):
        held = ~Q(lease_owner="") & Q(lease_expires_at__gt=Now())
        facts.busy = Session.objects.filter(held).count()
    return facts


def _read_places(facts: Facts, queued: Sequence[Run]) -> None:
    peers = Run.objects.filter(session=OuterRef("session"), status__in=sorted(LIVE)).order_by("position")
    before = peers.filter(position__lt=OuterRef("position")).order_by()
    counted = before.values("session").annotate(number=Count("pk")).values("number")
    rows = Run.objects.filter(pk__in=[run.pk for run in queued]).annotate(
        ahead=Coalesce(Subquery(counted, output_field=IntegerField()), 0),
        head=Subquery(peers.values("pk")[:1]),
    )
    for pk, ahead, head in rows.values_list("pk", "ahead", "head"):
        facts.places[pk] = Place(ahead=ahead, head_pk=head or pk)
    pks = {place.head_pk for place in facts.places.values()}
    facts.heads = Run.objects.select_related("session").in_bulk(pks)


def _read_work(facts: Facts, pks: Sequence[int]) -> None:
    if not pks:
        return
    facts.steps = {row.run_id: row for row in Step.objects.filter(run_id__in=pks, number=F("run__step"))}
    started = ToolCall.objects.filter(run_id__in=pks, state=ToolCallState.STARTED)
    facts.calls = {row.run_id: row for row in started.order_by("-index")}
    tasks = ShellTask.objects.filter(run_id__in=pks, status=TaskStatus.IN_PROGRESS, background=False)
    facts.tasks = {row.run_id: row for row in tasks.order_by("pk")}
    entries = JournalEntry.objects.filter(run_id=OuterRef("pk")).order_by("-seq").values("pk")[:1]
    newest = Run.objects.filter(pk__in=pks).annotate(newest=Subquery(entries)).values("newest")
    facts.last = {row.run_id or 0: row for row in JournalEntry.objects.filter(pk__in=newest)}
