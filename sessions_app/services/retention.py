"""What is deleted, and when. Each table's time is a setting; what proves history is kept by default.

A session goes as a whole or not at all: a journal with a piece missing would prove nothing.
"""

import logging
from datetime import timedelta
from typing import Final

from django.conf import settings

from kheish_site.lib import clock
from kheish_site.lib.transactions import locked, write
from sessions_app.models import (
    Approval,
    ApprovalVote,
    Checkpoint,
    JournalEntry,
    OperatorDecision,
    Run,
    Session,
    ShellTask,
    Step,
    StoredResult,
    TaskOutput,
    TaskStatus,
    ToolCall,
    UserQuestion,
)
from sessions_app.services import assets, idempotency

logger = logging.getLogger(__name__)
BATCH: Final = 100


def purge() -> dict[str, int]:
    """Delete what outlived its time, a bounded batch of each; return how many of each went."""
    gone = {
        "answers": idempotency.purge(),
        "task_outputs": _task_outputs(settings.KHEISH.keep_task_output_days),
        "sessions": _ended_sessions(settings.KHEISH.keep_ended_sessions_days),
        "assets": len(assets.gc(dry_run=False).asset_ids),
    }
    if any(gone.values()):
        logger.info("retention", extra={"action": "retention.purge", **gone})
    return gone


def _task_outputs(days: float) -> int:
    if not days:
        return 0
    ended = ShellTask.objects.exclude(status=TaskStatus.IN_PROGRESS).filter(
        finished_at__lt=clock.now() - timedelta(days=days), output_size_bytes__gt=0
    )
    tasks = list(ended.values_list("pk", flat=True)[:BATCH])
    with write():
        TaskOutput.objects.filter(task__in=tasks).delete()
        ShellTask.objects.filter(pk__in=tasks).update(output_size_bytes=0, output_rotated=True)
    return len(tasks)


def _ended_sessions(days: float) -> int:
    if not days:
        return 0
    old = Session.objects.filter(ended_at__lt=clock.now() - timedelta(days=days))
    doomed = list(old.order_by("ended_at").values_list("pk", flat=True)[:BATCH])
    for session_pk in doomed:
        _delete_session(session_pk)
    return len(doomed)


def _delete_session(session_pk: int) -> None:
    """Delete one ended session with everything that names it, in one transaction."""
    with write():
        locked(Session.objects.filter(pk=session_pk)).first()
        stored = list(
            ToolCall.objects.filter(run__session=session_pk, stored__isnull=False).values_list(
                "stored", flat=True
            )
        )
        assets.release("run", Run.objects.filter(session=session_pk).values_list("run_id", flat=True))
        ApprovalVote.objects.filter(approval__session=session_pk).delete()
        for waited in (Approval, UserQuestion, OperatorDecision, ShellTask, Checkpoint, JournalEntry):
            waited.objects.filter(session=session_pk).delete()
        ToolCall.objects.filter(run__session=session_pk).delete()
        Step.objects.filter(run__session=session_pk).delete()
        Run.objects.filter(session=session_pk).delete()
        Session.objects.filter(pk=session_pk).delete()
        StoredResult.objects.filter(pk__in=stored, toolcall=None).delete()
