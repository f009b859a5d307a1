"""What people do about deliveries: send again, resolve, decide, send by hand.

A dead letter stays one; sending it again makes a new delivery at the end of the queue. A delivery of unknown
outcome waits for somebody to look at the target and say what happened.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.db.models import QuerySet

from connectors_app.models import Delivery, DeliveryDecision, DeliveryStatus
from connectors_app.services import handles
from connectors_app.services.deliveries import attachments, entries, find, queue, states, targets
from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import BadRequest, Conflict
from kheish_site.lib.ids import new_id
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write
from sessions_app.services import journal, reply_targets, sessions
from sessions_app.services.principal import Principal

RESOLVED: Final = "operator resolved"
IDEMPOTENCY_KEY: Final = "delivery_idempotency_key"
"""The member of a message's metadata whose value lets it reach each target only once."""
_LONGEST_REASON: Final = 512
Action = Literal["would_replay", "replayed", "existing_replay"]


class DecisionConflict(Conflict):
    """It was decided in another way; the problem says how and by whom."""

    code, domain = "delivery_decision_conflict", "deliveries"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came of one dead letter of a bulk replay."""

    source: Delivery
    action: Action
    replay: Delivery | None = None


def replay(delivery_id: str, *, force: bool = False, principal: Principal) -> tuple[Delivery, bool]:
    """Send a dead letter again, as a new delivery at the end of its target's queue; True when it is new.

    Without ``force``, a dead letter that was replayed before returns its newest replay. The dead letter
    itself does not change. Raises: DeliveryMissing, IllegalDelivery (it is no dead letter).
    """
    with write():
        source = _lock(find.get(delivery_id))
        if source.status != DeliveryStatus.DEAD_LETTERED:
            raise states.IllegalDelivery(
                f"a {source.status} delivery cannot be replayed", delivery_id=delivery_id
            )
        done = _replay(source, force=force, principal=principal)
        assert done.replay is not None
        return done.replay, done.action == "replayed"


def replay_bulk(
    rows: QuerySet[Delivery], *, limit: int, force: bool, dry_run: bool, principal: Principal, once: str = ""
) -> list[Replayed]:
    """Send the dead letters among ``rows`` again, oldest first, at most ``limit``, each in one transaction.

    After an error the earlier ones stay replayed; the same call again finds their replays and goes on. With
    ``force`` it finds only those of the same ``once``. ``dry_run`` only says what would happen. Joins no open
    transaction.
    """
    dead = rows.filter(status=DeliveryStatus.DEAD_LETTERED).order_by("id")
    ids = list(dead.values_list("delivery_id", flat=True)[:limit])
    if dry_run:
        whole = find.rows(whole=True).filter(delivery_id__in=ids).order_by("id")
        return [_would(source, force=force) for source in whole]
    done = []
    for delivery_id in ids:
        with suppress(find.DeliveryMissing), write():  # it may have been purged meanwhile
            source = _lock(find.get(delivery_id))
            done.append(_replay(source, force=force, principal=principal, once=once))
    return done


def _would(source: Delivery, *, force: bool) -> Replayed:
    earlier = None if force else _newest(source)
    return Replayed(source=source, action="existing_replay" if earlier else "would_replay", replay=earlier)


def _replay(source: Delivery, *, force: bool, principal: Principal, once: str = "") -> Replayed:
    """Queue ``source`` again. Needs its session and its target locked."""
    key = f"replay:{source.delivery_id}:{sha256_hex(once)[:16]}" if once else ""
    earlier = _newest(source, key=key if force else "") if key or not force else None
    if earlier is not None:
        return Replayed(source=source, action="existing_replay", replay=earlier)
    copy = _again(source, key=key)
    _note(source, principal, decision="replayed", replay_delivery_id=copy.delivery_id)
    return Replayed(source=source, action="replayed", replay=copy)


def _newest(source: Delivery, *, key: str = "") -> Delivery | None:
    replays = find.rows(whole=True).filter(replayed_from=source, **({"key": key} if key else {}))
    return replays.order_by("-id").first()


def _again(source: Delivery, *, key: str = "") -> Delivery:
    number = Delivery.objects.filter(replayed_from=source).count() + 1
    return queue.again(source, source.target, key=key or f"replay:{source.delivery_id}:{number}")


def resolve(delivery_id: str, *, reason: str = "", principal: Principal) -> Delivery:
    """Mark a dead letter as dealt with, so that no warning counts it. A repeat changes nothing.

    Raises: DeliveryMissing, IllegalDelivery (it is no dead letter).
    """
    with write():
        delivery = _lock(find.get(delivery_id))
        if delivery.status != DeliveryStatus.DEAD_LETTERED:
            raise states.IllegalDelivery(
                f"a {delivery.status} delivery cannot be resolved", delivery_id=delivery_id
            )
        if delivery.resolved_at is None:
            _resolve(delivery, principal, reason or RESOLVED)
            _note(delivery, principal, decision="resolved", reason=delivery.resolution_reason)
    return find.get(delivery_id)


def decide(delivery_id: str, outcome: str, *, reason: str = "", principal: Principal) -> Delivery:
    """Say what came of a delivery of unknown outcome. The same outcome again changes nothing.

    ``happened``: it is delivered. ``not_happened``: it becomes a dead letter and is sent again as a new
    delivery. ``give_up``: it becomes a dead letter. Raises: DeliveryMissing, BadRequest (no such outcome),
    DecisionConflict (another one won), IllegalDelivery (its outcome is known).
    """
    if outcome not in DeliveryDecision.values:
        raise BadRequest(
            f"outcome is one of {', '.join(DeliveryDecision.values)}",
            code="delivery_decision_unknown",
            domain="deliveries",
        )
    with write():
        delivery = _lock(find.get(delivery_id))
        if delivery.decision:
            _same_or_conflict(delivery, outcome)
        elif delivery.status != DeliveryStatus.UNKNOWN:
            raise states.IllegalDelivery(
                f"the outcome is known: it is {delivery.status}", delivery_id=delivery_id
            )
        else:
            _decide(delivery, DeliveryDecision(outcome), reason, principal)
    return find.get(delivery_id)


def _same_or_conflict(delivery: Delivery, outcome: str) -> None:
    if delivery.decision != outcome:
        raise DecisionConflict(
            f"already decided: {delivery.decision}, by {delivery.resolved_by}",
            delivery_id=delivery.delivery_id,
            decision=delivery.decision,
            resolved_by=delivery.resolved_by,
        )


def _decide(delivery: Delivery, outcome: DeliveryDecision, reason: str, principal: Principal) -> None:
    happened = outcome == DeliveryDecision.HAPPENED
    to = DeliveryStatus.DELIVERED if happened else DeliveryStatus.DEAD_LETTERED
    more: dict[str, Any] = {} if happened else {"terminal_error": delivery.last_error}
    states.advance(delivery, to, decision=outcome, **more)
    _resolve(delivery, principal, reason)
    payload = {"decision": str(outcome), "reason": delivery.resolution_reason}
    if outcome == DeliveryDecision.NOT_HAPPENED:
        payload["replay_delivery_id"] = _again(delivery).delivery_id
    _note(delivery, principal, **payload)


def send_by_hand(
    session_id: str, output: Mapping[str, Any], handle: Any, *, principal: Principal
) -> list[Delivery]:
    """Queue a person's message for one handle the session may use.

    A message whose metadata has a ``delivery_idempotency_key`` is queued once for a target, whoever sends it
    again and in whatever session: the repeat returns the delivery that is there. Raises: SessionMissing,
    InvalidReplyTarget, BadRequest (a local handle), ReplyTargetForbidden, NotFound.
    """
    message = redact(dict(output))
    with write():
        sessions.lock(sessions.get(session_id).pk)
        session = sessions.get(session_id)  # its scope, under the lock
        (target,) = reply_targets.judged(session, [handle], principal=principal)
        if target["plugin"] == handles.LOCAL:
            raise BadRequest(
                "a local target needs no delivery", code="invalid_reply_target", domain="deliveries"
            )
        return queue.enqueue(
            session,
            None,
            targets=[target],
            key=_named(output.get("metadata", {})) or new_id("hand"),
            content=message.get("content", ""),
            parts=message.get("parts", ()),
            attachments=message.get("attachments", ()),
            metadata={**message.get("metadata", {}), "sent_by": principal.name},
        )


def _named(metadata: Mapping[str, Any]) -> str:
    name = metadata.get(IDEMPOTENCY_KEY)
    return f"named:{sha256_hex(name)}" if name else ""


def _resolve(delivery: Delivery, principal: Principal, reason: str) -> None:
    delivery.resolved_at, delivery.resolved_by = clock.now(), principal.name
    delivery.resolution_reason = redact(reason)[:_LONGEST_REASON]
    delivery.save(update_fields=["resolved_at", "resolved_by", "resolution_reason"])


def _note(delivery: Delivery, principal: Principal, **payload: Any) -> None:
    journal.append(delivery.session_id, entries.decided(delivery, principal=principal.name, **payload))


def _lock(delivery: Delivery) -> Delivery:
    """Lock its session, its attachments and its target, in the common order; return it as it then is.

    Raises: DeliveryMissing (it was purged meanwhile).
    """
    sessions.lock(delivery.session_id)
    attachments.hold(set(delivery.attachments))
    targets.lock(delivery.target_id)
    return find.get(delivery.delivery_id)
