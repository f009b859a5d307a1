"""Finding work again: after a lost wake-up, a dead worker, an expiry. An ordinary path, run all the time.

``due_sessions`` is the whole truth about what could be driven; doorbells only say it sooner.
"""

import logging
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from kheish_site.lib import clock
from kheish_site.lib.in_turn import each
from kheish_site.lib.transactions import on_postgresql, write
from sessions_app.models import (
    Approval,
    ApprovalStatus,
    JournalEntry,
    QuestionStatus,
    Run,
    UserQuestion,
    Worker,
)
from sessions_app.services import approvals, leases, ports, processes, questions, shell_tasks, ticks

logger = logging.getLogger(__name__)
BATCH: Final = 200
DEAD_AFTER_LEASES: Final = 2
MAX_LOST_IN_A_ROW: Final = 10
"""Workers a run may lose without a step forward before it is taken for the cause."""
MOST_DISRUPTIONS: Final = 3
"""Unforeseen failures of the service that a run may have and go on."""
_NO_PROGRESS: Final = frozenset(
    {
        "tool.started", "task.started", "task.finished", "model.failed", "model.switched",
        "checkpoint.created", "run.stop_requested", "run.disrupted",
    }
)  # fmt: skip
_LOOK_BACK: Final = 400
_READY: Final = """
SELECT id FROM sessions_app_session WHERE queued_runs > 0 AND NOT blocked AND lease_owner = ''
ORDER BY updated_at LIMIT %s"""
_LOST: Final = """
SELECT id FROM sessions_app_session WHERE NOT (lease_owner = '') AND lease_expires_at <= clock_timestamp()
ORDER BY lease_expires_at LIMIT %s"""
_LOST_PORTABLE: Final = _LOST.replace("clock_timestamp()", "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')")


def due_sessions(limit: int = BATCH) -> list[int]:
    """Return sessions with a run to drive and nobody who drives it, longest waiting first.

    Expired leases first. Two partial indexes answer it; finished runs and idle sessions are not looked at.
    """
    with connection.cursor() as cursor:  # plain SQL: a feeder asks after every commit it sees
        cursor.execute(_LOST if on_postgresql() else _LOST_PORTABLE, [limit])
        lost = [pk for (pk,) in cursor.fetchall()]
        cursor.execute(_READY, [limit])
        return [*lost, *(pk for (pk,) in cursor.fetchall())]


def is_worn_out(run: Run) -> bool:
    """Tell whether a recovered run has lost so many workers in a row that it must be what kills them.

    Read from its entries: a journalled step forward starts the count again.
    """
    if run.recovered_count < MAX_LOST_IN_A_ROW:
        return False
    own = JournalEntry.objects.filter(run_id=run.pk).exclude(kind__startswith="delivery.")
    lost = 0
    for kind in own.order_by("-seq").values_list("kind", flat=True)[:_LOOK_BACK]:
        if kind == "run.recovered":
            lost += 1
        elif kind not in _NO_PROGRESS:
            break
    return lost > MAX_LOST_IN_A_ROW


def may_be_disrupted(run: Run) -> bool:
    """Tell whether the run may go on after one more failure that nobody foresaw (``settle.disrupt``)."""
    before = JournalEntry.objects.filter(run_id=run.pk, kind="run.disrupted")
    return before.count() < MOST_DISRUPTIONS


def bury_dead_workers(host: str, *, listening_seconds: float = float("inf")) -> int:
    """Let go of what workers left that are certainly dead; return how many they were just now.

    On this host a process that no longer exists is dead; elsewhere one whose heartbeat has been silent for
    two leases, if the caller has been listening for as long: after a time without a database everybody was
    silent. Their leases can be taken at once, their shell tasks are settled.
    """
    patience = timedelta(seconds=DEAD_AFTER_LEASES * leases.lease_seconds())
    silent = ExpressionWrapper(Q(heartbeat_at__lt=Now() - patience), output_field=BooleanField())
    workers = Worker.objects.annotate(silent=silent).values_list(
        "name", "host", "pid", "pid_started", "silent"
    )
    heard = listening_seconds >= patience.total_seconds()
    dead = [
        name
        for name, where, pid, began, silent in workers
        if _is_dead(host, where, pid, began, silent and heard)
    ]
    if dead:
        leases.expire_owned_by(dead)
        ports.workers_buried(dead)
        with write():
            Worker.objects.filter(name__in=dead).delete()
        logger.info("dead workers buried", extra={"action": "recover", "workers": len(dead)})
    shell_tasks.settle_lost()  # also what an earlier burial, cut short, has left
    return len(dead)


def _is_dead(here: str, host: str, pid: int, pid_started: str, silent: bool) -> bool:
    return processes.started(pid) != pid_started if host == here else silent


def expire_due() -> int:
    """Settle approvals and questions whose time is over, for a while; return how many."""
    now, part = clock.now(), leases.lease_seconds() / 3  # whoever sweeps has to be heard of
    late_approvals = Approval.objects.filter(status=ApprovalStatus.PENDING, expires_at__lte=now)
    late_questions = UserQuestion.objects.filter(status=QuestionStatus.PENDING, expires_at__lte=now)
    done = each(late_approvals[:BATCH], approvals.expire, action="expire.approval", seconds=part)
    return done + each(late_questions[:BATCH], questions.expire, action="expire.question", seconds=part)


def take_tick(owner: str) -> bool:
    """Take or keep the right to run the periodic work, so that one worker at a time does it."""
    return ticks.take("sweep", owner, seconds=max(3 * settings.KHEISH.sweep_seconds, 5))
