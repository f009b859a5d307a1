"""Who sends what: the lease of a target, ``sending`` before the request leaves, the outcome after it.

One commit takes a target and begins its head; another settles an attempt and begins the next. Both first lock
the sessions they write about, so the head is read before that: if it has changed by then, the target is given
back and found again.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from connectors_app.models import Delivery, DeliveryStatus, DeliveryTarget
from connectors_app.services.contracts import Ambiguous, RetryLater, SendFailure, Sent
from connectors_app.services.deliveries import entries, evidence, policy, send, states, targets
from connectors_app.services.deliveries.send import Outcome
from kheish_site.lib.prepared import update
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import undone_with, write
from sessions_app.models import ActionPhase
from sessions_app.services import journal
from sessions_app.services import sessions as session_service
from sessions_app.services.external_actions import ChainBroken

logger = logging.getLogger(__name__)
STATUS: Final = DeliveryStatus
_LONGEST_ERROR: Final = 512
_LOST: Final = Ambiguous("internal", "its sender died before the outcome was known")
_TURNS: Final = tuple(threading.Lock() for _ in range(256))


@dataclass(frozen=True, kw_only=True)
class Work:
    """A delivery that is ``sending`` under our lease; it may leave until ``leave_by`` (monotonic)."""

    delivery: Delivery
    owner: str
    epoch: int
    leave_by: float

    @property
    def target_pk(self) -> int:
        """The target whose queue it heads."""
        return self.delivery.target_id

    @property
    def leased_at(self) -> float:
        """When the lease began to run (monotonic): before the wait for its row."""
        return self.leave_by - targets.life_seconds()

    @property
    def is_late(self) -> bool:
        """True when the lease may have run out since it was taken: the request must not leave any more."""
        return time.monotonic() >= self.leave_by


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """What an attempt makes of its delivery (``to``, ``fields``) and target, and its ``entry`` says of it."""

    to: DeliveryStatus
    fields: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False
    entry: Mapping[str, Any] = field(default_factory=dict)


def take(target_pk: int, owner: str) -> Work | None:
    """Take the target's lease and begin its head, in one commit; None when nothing is to be sent.

    A head left ``sending`` by a dead sender is judged first.
    """
    first = targets.head(target_pk)
    sessions = {first.session_id} if first is not None else set()
    with _writing(sessions):
        target = targets.take(target_pk, owner)
        return None if target is None else _go_on(target, sessions)


def settle(work: Work, outcome: Outcome, *, go_on: bool) -> Work | None:
    """Commit what came of an attempt, and begin the next delivery of the target when one is due.

    Without ``go_on``, or when none is due, the lease is given back. A call that fails can be repeated with
    the same ``work``. Raises: TargetLost (nothing is written), LedgerUnavailable.
    """
    behind = targets.behind(work.delivery) if go_on else None
    sessions = {work.delivery.session_id} | ({behind.session_id} if behind is not None else set())
    with undone_with(work.delivery), _writing(sessions):
        target = _locked(work.target_pk, work.owner, work.epoch)
        _judge(target, work.delivery, outcome)
        return _go_on(target, sessions, wanted=go_on)


def resume(work: Work) -> Work | None:
    """Go on after ``work`` was settled by a commit whose answer was lost; None if that commit began nothing.

    The delivery it began has not left: only its lease can have aged. Raises: TargetLost.
    """
    with write():
        target = _locked(work.target_pk, work.owner, work.epoch)
        begun = targets.head(target.pk)
        if begun is None or begun.status != STATUS.SENDING:
            targets.change(target, lease_owner="", lease_expires_at=None)
            return None
        begun.target = target
        targets.change(target, lease_expires_at=targets.expiry(target))
        return _work(target, begun)


def pass_over(target_pk: int, owner: str, broken: ChainBroken) -> None:
    """Settle a head whose attempts cannot be recorded, so that it does not hold up other sessions' messages.

    If it never left it is dead-lettered, if it may have left it is unknown. No record says so: the chain that
    would hold it is the broken one. A head of another session is left alone.
    """
    first = targets.head(target_pk)
    if first is None:
        return
    with _writing({first.session_id}):
        target = targets.take(target_pk, owner)
        head = targets.head(target_pk)
        if target is None:
            return
        if head is not None and head.session_id == first.session_id:
            head.target = target
            to = STATUS.UNKNOWN if head.status == STATUS.SENDING else STATUS.DEAD_LETTERED
            error = {"error_class": "internal", "message": f"{broken.code}: {broken.detail}"}
            if head.status != STATUS.SENDING:
                states.advance(head, STATUS.SENDING)
            final = error if to == STATUS.DEAD_LETTERED else {}
            states.advance(head, to, last_error=error, terminal_error=final)
            journal.append(head.session_id, entries.entry(head, to, attempt=head.attempts, **error))
        targets.change(target, lease_owner="", lease_expires_at=None, next_at=target.db_now)
    logger.error("a delivery was passed over", extra={"action": "delivery.pass_over", "target": target.name})


def keep(work: Work, progress: dict[str, Any]) -> None:
    """Commit what a sender has confirmed so far. Raises: TargetLost."""
    with write():
        _locked(work.target_pk, work.owner, work.epoch)
        update(work.delivery, {"progress": progress}, where={"status": STATUS.SENDING})


@contextmanager
def _writing(sessions: Collection[int]) -> Iterator[None]:
    """Open the transaction that writes about ``sessions`` and lock their rows.

    The threads of one process take turns outside it: a thread that waits for a row keeps a connection and
    an open transaction, and streams of all sessions wait for open transactions.
    """
    with ExitStack() as turns:
        for place in sorted({pk % len(_TURNS) for pk in sessions}):
            turns.enter_context(_TURNS[place])
        with write():
            session_service.lock(*sessions)
            yield


def _locked(target_pk: int, owner: str, epoch: int) -> DeliveryTarget:
    return targets.check(targets.lock(target_pk), owner, epoch)


def _go_on(target: DeliveryTarget, sessions: Collection[int], *, wanted: bool = True) -> Work | None:
    """Begin the head of a target that is ours, if it is due and its session is locked; else give it back."""
    now = target.db_now
    while True:
        first = targets.head(target.pk)
        when = targets.due_at(target, first, now)
        is_due = when is not None and when <= now
        if first is None or not (is_due and wanted and target.paused_at is None):
            break
        if first.session_id not in sessions:
            break
        first.target = target
        if first.status == STATUS.SENDING and not _may_repeat(target, first):
            _judge(target, first, _LOST)
            continue
        return _begin(target, first)
    targets.change(target, lease_owner="", lease_expires_at=None, next_at=when)
    return None


def _may_repeat(target: DeliveryTarget, delivery: Delivery) -> bool:
    return not policy.is_last(delivery.attempts) and send.honours_keys(target)


def _begin(target: DeliveryTarget, delivery: Delivery) -> Work:
    if delivery.status == STATUS.SENDING:  # left by a sender that died: the outcome of its attempt is unknown
        evidence.record(delivery, ActionPhase.FINISHED, outcome=str(STATUS.UNKNOWN))
    states.advance(
        delivery, STATUS.SENDING, attempts=delivery.attempts + 1, next_attempt_at=None,
        attempted_at=target.db_now,
    )  # fmt: skip
    now = target.db_now
    targets.change(target, next_at=now, last_attempt_at=now, lease_expires_at=targets.expiry(target))
    evidence.record(delivery, ActionPhase.STARTED)
    return _work(target, delivery)


def _work(target: DeliveryTarget, delivery: Delivery) -> Work:
    return Work(
        delivery=delivery,
        owner=target.lease_owner,
        epoch=target.lease_epoch,
        leave_by=target.ticks + targets.life_seconds(),
    )


def _judge(target: DeliveryTarget, delivery: Delivery, outcome: Outcome) -> None:
    """Settle an attempt: write the delivery, its target, the journal and the ledger."""
    verdict = _verdict(target, delivery, outcome)
    states.advance(delivery, verdict.to, **verdict.fields)
    _count(target, verdict)
    entry = entries.entry(delivery, verdict.to, attempt=delivery.attempts, **verdict.entry)
    journal.append(delivery.session_id, entry)
    evidence.record(delivery, ActionPhase.FINISHED, outcome=str(verdict.to))
    logger.info(
        "delivery settled",
        extra={
            "action": "delivery.settle", "delivery": delivery.delivery_id, "target": target.name,
            "status": str(verdict.to), "attempt": delivery.attempts,
        },
    )  # fmt: skip


def _verdict(target: DeliveryTarget, delivery: Delivery, outcome: Outcome) -> _Verdict:
    if isinstance(outcome, Sent):
        # Both are the target's own words: redacted before they are kept anywhere.
        fields = {"reference": redact(outcome.reference)[:500], "detail": redact(dict(outcome.detail))}
        return _Verdict(to=STATUS.DELIVERED, fields=fields, entry={"reference": fields["reference"]})
    error = {"error_class": outcome.error_class, "message": redact(outcome.message)[:_LONGEST_ERROR]}
    if isinstance(outcome, Ambiguous) and not send.honours_keys(target):
        return _Verdict(to=STATUS.UNKNOWN, fields={"last_error": error}, failed=True, entry=error)
    if isinstance(outcome, Ambiguous | RetryLater):
        if policy.is_last(delivery.attempts):
            return _dead(error, failed=True)
        return _retry(target, delivery, outcome, error)
    return _dead(error)


def _retry(
    target: DeliveryTarget, delivery: Delivery, outcome: SendFailure, error: dict[str, Any]
) -> _Verdict:
    wait = policy.wait_seconds(delivery.attempts, getattr(outcome, "retry_after_seconds", None))
    at = target.db_now + timedelta(seconds=wait)
    return _Verdict(
        to=STATUS.RETRYING,
        fields={"last_error": error, "next_attempt_at": at},
        failed=True,
        entry={**error, "retry_in_ms": round(wait * 1000)},
    )


def _dead(error: dict[str, Any], *, failed: bool = False) -> _Verdict:
    fields = {"last_error": error, "terminal_error": error}
    return _Verdict(to=STATUS.DEAD_LETTERED, fields=fields, failed=failed, entry=error)


def _count(target: DeliveryTarget, verdict: _Verdict) -> None:
    """Count failures in a row: enough of them open the circuit, a success closes it, a refusal is neutral.

    Unknown outcomes count too: a target that times out must not turn its whole queue into questions.
    """
    failures, open_until = target.failures, target.circuit_open_until
    if verdict.failed:
        failures += 1
        if policy.opens_circuit(failures):
            open_until = target.db_now + timedelta(seconds=policy.cooldown_seconds())
    elif verdict.to == STATUS.DELIVERED:
        failures, open_until = 0, None
    if (failures, open_until) != (target.failures, target.circuit_open_until):
        targets.change(target, failures=failures, circuit_open_until=open_until)
