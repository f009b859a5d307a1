"""What is deleted, and when. Each table's time is a setting; what proves history is kept by default.

A session goes as a whole or not at all: a journal with a piece missing would prove nothing.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from kheish_site.lib import clock
from kheish_site.lib.in_turn import each
from kheish_site.lib.transactions import locked, unpinned, write
from sessions_app.models import (
    ActionChain,
    Approval,
    ApprovalVote,
    Checkpoint,
    ExternalAction,
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
from sessions_app.services import assets, audit, external_actions, idempotency, logins, ports

logger = logging.getLogger(__name__)
BATCH: Final = 100


def purge() -> dict[str, int]:
    """Delete what outlived its time; return how many of each went.

    Of what grows with the work a bounded batch. What fails is logged, counts as none, and keeps nothing else.
    """
    gone = {name: _tried(name, part) for name, (part, _) in _parts().items()}
    if any(gone.values()):
        logger.info("retention", extra={"action": "retention.purge", **gone})
    return gone


def leaves_more(gone: Mapping[str, int]) -> bool:
    """Tell whether what ``purge`` deleted of anything was as much as it deletes at once."""
    return any(batch and gone[name] >= batch for name, (_, batch) in _parts().items())


def _parts() -> dict[str, tuple[Callable[[], int], int]]:
    """Return what deletes each kind of thing, with how many go at once; 0 where all do."""
    kheish = settings.KHEISH
    return {
        "answers": (idempotency.purge, idempotency.PURGED_AT_ONCE),
        "task_outputs": (lambda: _task_outputs(kheish.keep_task_output_days), BATCH),
        **ports.purges(),
        "sessions": (lambda: _ended_sessions(kheish.keep_ended_sessions_days), BATCH),
        "action_chains": (lambda: _action_chains(kheish.keep_external_actions_days), BATCH),
        "audit_entries": (audit.purge, audit.PURGED_AT_ONCE),
        "login_failures": (logins.purge, 0),
        "assets": (lambda: len(assets.gc(dry_run=False).asset_ids), assets.BATCH),
    }


def _tried(name: str, part: Callable[[], int]) -> int:
    try:
        return part()
    except Exception:  # the edge of each part: what one cannot delete the others still can
        logger.exception("not purged", extra={"action": "retention.purge", "of": name})
        return 0


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
    old = Session.objects.filter(~ports.needed_sessions(), ended_at__lt=clock.now() - timedelta(days=days))
    doomed = list(old.order_by("ended_at").values_list("pk", flat=True)[:BATCH])
    return each(doomed, _delete_session, action="retention.session")


def _delete_session(session_pk: int) -> bool:
    """Delete one ended session with everything that names it, in one transaction, unless an app needs it."""
    with write():
        session = locked(Session.objects.filter(pk=session_pk)).first()
        if session is None or Session.objects.filter(ports.needed_sessions(), pk=session_pk).exists():
            return False
        ports.session_purged(session)
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
        _stored_results(stored)
    return True


def _stored_results(pks: Collection[int]) -> None:
    """Delete those that no call names, nor is about to: whoever does has pinned it."""
    free = list(unpinned(StoredResult.objects.filter(pk__in=pks)).values_list("pk", flat=True))
    StoredResult.objects.filter(pk__in=free, toolcall=None).delete()


def _action_chains(days: float) -> int:
    """Delete chains of signed records whose session is gone: whole, for a part would prove nothing."""
    if not days:
        return 0
    old = ActionChain.objects.filter(_abandoned(), at__lt=clock.now() - timedelta(days=days))
    doomed = list(old.order_by("at").values_list("pk", flat=True)[:BATCH])
    return each(doomed, lambda chain_pk: _delete_chain(chain_pk, days), action="retention.chain")


def _abandoned() -> Q:
    alive = Session.objects.filter(session_id=OuterRef("bucket"))
    unscoped = external_actions.UNSCOPED
    return ~Q(Exists(alive)) & ~Q(bucket__in=[unscoped, external_actions.bucket_of(unscoped)])


def _delete_chain(chain_pk: int, days: float) -> bool:
    """Delete a chain unless somebody began a session of its name since, or wrote to it."""
    with write():
        chain = locked(ActionChain.objects.filter(pk=chain_pk)).first()
        old = ActionChain.objects.filter(_abandoned(), at__lt=clock.now() - timedelta(days=days))
        if chain is None or not old.filter(pk=chain_pk).exists():
            return False
        ExternalAction.objects.filter(bucket=chain.bucket).delete()
        chain.delete()
    return True
