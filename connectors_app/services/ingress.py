"""The one door for events: an event becomes exactly one run, however often and wherever it arrives.

Receipt, session, binding keys and run commit together or not at all. A repeat finds the receipt; two arrivals
at the same moment meet in its unique index, where the second waits for the first and then answers with its
run. Source: docs/connectors.md, "Repeats".
"""

import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, connection
from django.db.models import F, QuerySet

from connectors_app.models import Connector, IngressReceipt, IngressRefusal
from connectors_app.services import handles, identities, reply_targets, resolution
from connectors_app.services.contracts import InboundEvent
from connectors_app.services.resolution import DOMAIN, BindingTaken
from kheish_site.lib import clock
from kheish_site.lib.buckets import TokenBuckets
from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.errors import Conflict, KheishError, RateLimited
from kheish_site.lib.prepared import Prepared, insert
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write
from sessions_app.models import Run, Session
from sessions_app.services import inputs, runs, sessions, writes
from sessions_app.services.runs import NewRun
from sessions_app.services.writes import SessionChanged, SessionMissing

logger = logging.getLogger(__name__)
_BUCKETS: Final = TokenBuckets()
REFUSALS_EVERY_SECONDS: Final = 1.0
BATCH: Final = 5_000


class IngressConflict(Conflict):
    """An event with this key was accepted before with other content."""

    code, domain = "ingress_conflict", DOMAIN


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The run of an event. ``duplicate``: the event was accepted before; nothing new was created."""

    run: Run
    session_id: str
    duplicate: bool


def principal_name(connector: Connector) -> str:
    """Return the name under which a connector acts in every record."""
    return f"connector:{connector}"


def _receipt(connector_pk: int, key: str) -> QuerySet[IngressReceipt]:
    rows = IngressReceipt.objects.select_related("run__session", "run__persona__persona")
    return rows.filter(connector_id=connector_pk, key=key).order_by()


_RECEIPT: Final = Prepared[IngressReceipt](_receipt, int, str)


def seen(connector: Connector, key: str, fingerprint: str) -> Accepted | None:
    """Return the run of an event that was accepted before, and count the repeat; None for a new event.

    Raises: IngressConflict.
    """
    receipt = _RECEIPT.first(connector.pk, key)
    if receipt is None or receipt.run is None:
        return None
    session_id = receipt.run.session.session_id
    if receipt.fingerprint != fingerprint:
        raise IngressConflict(
            "an event with this key was accepted before, with another content",
            run_id=receipt.run.run_id,
            session_id=session_id,
        )
    with write():
        rows = IngressReceipt.objects.filter(pk=receipt.pk)
        rows.update(duplicates=F("duplicates") + 1, last_duplicate_at=clock.now())
    return Accepted(run=receipt.run, session_id=session_id, duplicate=True)


def accept(connector: Connector, event: InboundEvent) -> Accepted:
    """Accept an event: its session, its run and its receipt in one commit, then the doorbell.

    Opens its own transaction; needs no worker and waits for no run. Raises: IngressConflict, RateLimited, and
    what ``resolution`` and ``runs.submit`` raise; then nothing is kept and the event may be sent again.
    """
    earlier = seen(connector, event.known_as, event.fingerprint)
    if earlier is not None:
        return earlier
    _check_rate(connector, event)
    inputs.check_text([event.content, *(str(item.get("text", "")) for item in event.input_items)])
    new = runs.prepare(_new_run(connector, event))  # opens files, which may take long: before the transaction
    try:
        accepted = _accept_in_race(connector, event, new)
    except IntegrityError:
        # Somebody else accepted the same event, or took one of its keys, at the same moment.
        earlier = seen(connector, event.known_as, event.fingerprint)
        if earlier is None:
            raise
        return earlier
    crashpoint("ingress.accepted")
    logger.info(
        "event accepted",
        extra={"action": "ingress.accept", "connector": str(connector), "run": accepted.run.run_id},
    )
    return accepted


def _accept_in_race(connector: Connector, event: InboundEvent, new: NewRun) -> Accepted:
    """Accept; once more when a key was taken or the session changed meanwhile."""
    try:
        return _accept_known(connector, event, new) or _accept(connector, event, new)
    except (BindingTaken, SessionChanged, SessionMissing):
        return _accept(connector, event, new)


def _accept_known(connector: Connector, event: InboundEvent, new: NewRun) -> Accepted | None:
    """Accept an event that only adds a run to an existing session; None for any other.

    Everything is read and judged before the transaction, which then only writes: SQLite has one writer, and a
    long transaction holds up every worker. Raises: SessionChanged, when its settings moved in between.
    """
    if event.binding_keys or new.reply_targets:
        return None
    target = resolution.resolve(connector, event)
    session = resolution.existing(connector, target)
    principal = principal_name(connector)
    asker = identities.requester(connector, event.actor_id) or principal
    change = runs.draft(session, new, principal=asker) if session is not None else None
    if session is None or change is None or change.accept is None:
        return None
    with write():
        writes.commit(change)
        crashpoint("ingress.submitted")
        _keep_receipt(connector, event, change.accept, session)
    return Accepted(run=change.accept, session_id=session.session_id, duplicate=False)


def _accept(connector: Connector, event: InboundEvent, new: NewRun) -> Accepted:
    principal = principal_name(connector)
    with write():
        target = resolution.resolve(connector, event)
        session = resolution.ensure(connector, target, principal=principal)
        new_keys = resolution.bind(connector, session, target, event.binding_keys)
        if new_keys:
            sessions.note_binding_keys(session, new_keys, principal=principal)
        asker = identities.requester(connector, event.actor_id) or principal
        judged = replace(new, reply_targets=_judged(new.reply_targets, session))
        run = runs.submit(session.session_id, judged, principal=asker, session=session)
        # The session's row is locked by now: if it no longer meets the policy, all of this is undone.
        resolution.existing(connector, target)
        crashpoint("ingress.submitted")
        _keep_receipt(connector, event, run, session)
    return Accepted(run=run, session_id=session.session_id, duplicate=False)


def _keep_receipt(connector: Connector, event: InboundEvent, run: Run, session: Session) -> None:
    """Remember the event. Needs the transaction of its run. Raises: IntegrityError for a repeat."""
    receipt = IngressReceipt(
        connector=connector,
        key=event.known_as,
        fingerprint=event.fingerprint,
        run=run,
        session=session,
        accepted_at=run.submitted_at,
    )
    insert(receipt)


def _judged(targets: list[dict[str, Any]], session: Session) -> list[dict[str, Any]]:
    """Return the event's reply targets if they exist and the session may answer there.

    A connector's own targets may be in private networks, as an administrator wrote them; the kinds let no
    event ask for that. Raises: InvalidReplyTarget, NotFound(connector_not_found), ReplyTargetForbidden.
    """
    return reply_targets.judged(targets, credential_scope=session.credential_scope, may_reach_private=True)


def _new_run(connector: Connector, event: InboundEvent) -> NewRun:
    return NewRun(
        content=event.content,
        input_items=list(event.input_items),
        attachments=list(event.attachments),
        daemon_metadata={
            **event.metadata,
            "connector": str(connector),
            "connector_ingress_key": event.key,
        },
        source_plugin=connector.kind,
        source_kind=event.source_kind[:60],
        actor_id=event.actor_id[:200],
        reply_targets=handles.normal_list(event.reply_targets),
    )


def _check_rate(connector: Connector, event: InboundEvent) -> None:
    """Raise RateLimited when the connector's events come faster than it allows; repeats are never counted."""
    rate = float(connector.settings.get("ingress_events_per_second") or 0)
    if not rate:
        return
    scope = f"{connector.pk}:{event.rate_scope}"
    wait = _BUCKETS.take(scope, capacity=rate, per_second=rate, now=time.monotonic())
    if wait:
        raise RateLimited(
            f"more than {rate:g} events a second",
            code=f"{connector.kind}_ingress_rate_limited",
            domain=DOMAIN,
            retry_after_seconds=max(1, wait),
            retry_after_ms=int(wait * 1000) + 1,
        )


class _Refusals:
    """Refusals counted but not written yet: a flood of bad requests must not cause a flood of writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[int, str], tuple[int, str]] = {}
        self._written: dict[tuple[int, str], float] = {}

    def count(self, key: tuple[int, str], detail: str) -> float | None:
        """Count one; return in how many seconds ``take`` is due, None when an earlier caller sees to it."""
        with self._lock:
            number, _ = self._waiting.get(key, (0, ""))
            self._waiting[key] = (number + 1, detail)
            if number:
                return None
            since = time.monotonic() - self._written.get(key, float("-inf"))
            return max(0.0, REFUSALS_EVERY_SECONDS - since)

    def take(self, key: tuple[int, str]) -> tuple[int, str]:
        """Return how many wait and the last one's detail; the caller must write them."""
        with self._lock:
            self._written[key] = time.monotonic()
            return self._waiting.pop(key)


_REFUSALS: Final = _Refusals()


def note_refusal(connector: Connector, error: KheishError) -> None:
    """Count a refused event for the people who look at the connector; written at most once a second.

    A thread writes held-back counts when the second is over; a process killed before that loses them.
    """
    key = (connector.pk, error.error_code)
    seconds = _REFUSALS.count(key, redact(error.detail)[:500])
    if seconds == 0:
        _write_refusals(key)
    elif seconds is not None:
        held_back = threading.Timer(seconds, _write_held_back, [key])
        held_back.daemon = True
        held_back.start()


def _write_refusals(key: tuple[int, str]) -> None:
    """Write the counts; nothing when the connector is gone."""
    (connector_id, code), (number, detail) = key, _REFUSALS.take(key)
    changes: dict[str, Any] = {"count": F("count") + number, "last_at": clock.now(), "detail": detail}
    with write():
        rows = IngressRefusal.objects.filter(connector_id=connector_id, code=code)
        if rows.update(**changes) or not Connector.objects.filter(pk=connector_id).exists():
            return
        row = IngressRefusal(connector_id=connector_id, code=code, last_at=changes["last_at"])
        IngressRefusal.objects.bulk_create([row], ignore_conflicts=True)  # another process may be first
        rows.update(**changes)


def _write_held_back(key: tuple[int, str]) -> None:
    """The thread's body."""
    try:
        _write_refusals(key)
    except Exception:  # the thread's edge: these counts only inform people
        logger.warning("refusals were not counted", exc_info=True, extra={"action": "ingress.refusals"})
    finally:
        connection.close()


def purge() -> int:
    """Delete a batch of receipts older than ``KHEISH_KEEP_RECEIPTS_DAYS``; return how many went."""
    days = settings.KHEISH.keep_receipts_days
    if not days:
        return 0
    old = IngressReceipt.objects.filter(accepted_at__lt=clock.now() - timedelta(days=days))
    with write():
        doomed = list(old.values_list("pk", flat=True)[:BATCH])
        gone, _ = IngressReceipt.objects.filter(pk__in=doomed).delete()
    return gone
