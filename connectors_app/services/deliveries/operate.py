"""What people do about deliveries: send again, resolve, decide, send by hand.

A dead letter stays what it is; sending it again makes a delivery of its own at the end of the queue. A
delivery of unknown outcome waits for somebody to look at the target and say what happened.
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
"""What the metadata of a message calls it, so that it reaches each target once."""
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

    The newest replay there is, unless ``force``. The dead letter itself is not changed.
    Raises: DeliveryMissing, IllegalDelivery (it is no dead letter).
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

    An error leaves those before it replayed; the same call again finds them and goes on, with ``force`` those
    of the same ``once``. ``dry_run`` only says what would happen. Joins no open transaction.
    """
    dead = rows.filter(status=DeliveryStatus.DEAD_LETTERED).order_by("id")
    ids = list(dead.values_list("delivery_id", flat=True)[:limit])
    if dry_run:
        whole = find.rows(whole=True).filter(delivery_id__in=ids).order_by("id")
        return [_would(source, force=force) for source in whole]
    done = []
    for delivery_id in ids:
        with suppress(find.DeliveryMissing), write():  # it may go meanwhile
            source = _lock(find.get(delivery_id))
            done.append(_replay(source, force=force, principal=principal, once=once))
    return done


def _would(source: Delivery, *, force: bool) -> Replayed:
    there = None if force else _newest(source)
    return Replayed(source=source, action="existing_replay" if there else "would_replay", replay=there)


def _replay(source: Delivery, *, force: bool, principal: Principal, once: str = "") -> Replayed:
    """Queue ``source`` again. Needs its session and its target locked."""
    key = f"replay:{source.delivery_id}:{sha256_hex(once)[:16]}" if once else ""
    there = _newest(source, key=key if force else "") if key or not force else None
    if there is not None:
        return Replayed(source=source, action="existing_replay", replay=there)
    made = _again(source, key=key)
    _tell(source, principal, decision="replayed", replay_delivery_id=made.delivery_id)
    return Replayed(source=source, action="replayed", replay=made)


def _newest(source: Delivery, *, key: str = "") -> Delivery | None:
    found = find.rows(whole=True).filter(replayed_from=source, **({"key": key} if key else {}))
    return found.order_by("-id").first()


def _again(source: Delivery, *, key: str = "") -> Delivery:
    number = Delivery.objects.filter(replayed_from=source).count() + 1
    return queue.again(source, source.target, key=key or f"replay:{source.delivery_id}:{number}")


def resolve(delivery_id: str, *, reason: str = "", principal: Principal) -> Delivery:
    """Say that somebody has dealt with a dead letter: it is no trouble any more. A repeat changes nothing.

    Raises: DeliveryMissing, IllegalDelivery (it is no dead letter).
    """
    with write():
        found = _lock(find.get(delivery_id))
        if found.status != DeliveryStatus.DEAD_LETTERED:
            raise states.IllegalDelivery(
                f"a {found.status} delivery cannot be resolved", delivery_id=delivery_id
            )
        if found.resolved_at is None:
            _resolve(found, principal, reason or RESOLVED)
            _tell(found, principal, decision="resolved", reason=found.resolution_reason)
    return find.get(delivery_id)


def decide(delivery_id: str, outcome: str, *, reason: str = "", principal: Principal) -> Delivery:
    """Say what came of a delivery of unknown outcome. The same outcome again changes nothing.

    ``happened``: it is delivered. ``not_happened``: it is sent again, as a new delivery. ``give_up``: it is a
    dead letter. Raises: DeliveryMissing, BadRequest (unknown outcome), DecisionConflict (another one won),
    IllegalDelivery (its outcome is known).
    """
    if outcome not in DeliveryDecision.values:
        raise BadRequest(
            f"outcome is one of {', '.join(DeliveryDecision.values)}",
            code="delivery_decision_unknown",
            domain="deliveries",
        )
    with write():
        found = _lock(find.get(delivery_id))
        if found.decision:
            _same_or_conflict(found, outcome)
        elif found.status != DeliveryStatus.UNKNOWN:
            raise states.IllegalDelivery(
                f"the outcome is known: it is {found.status}", delivery_id=delivery_id
            )
        else:
            _decide(found, DeliveryDecision(outcome), reason, principal)
    return find.get(delivery_id)


def _same_or_conflict(found: Delivery, outcome: str) -> None:
    if found.decision != outcome:
        raise DecisionConflict(
            f"already decided: {found.decision}, by {found.resolved_by}",
            delivery_id=found.delivery_id,
            decision=found.decision,
            resolved_by=found.resolved_by,
        )


def _decide(found: Delivery, outcome: DeliveryDecision, reason: str, principal: Principal) -> None:
    happened = outcome == DeliveryDecision.HAPPENED
    to = DeliveryStatus.DELIVERED if happened else DeliveryStatus.DEAD_LETTERED
    more: dict[str, Any] = {} if happened else {"terminal_error": found.last_error}
    states.advance(found, to, decision=outcome, **more)
    _resolve(found, principal, reason)
    said = {"decision": str(outcome), "reason": found.resolution_reason}
    if outcome == DeliveryDecision.NOT_HAPPENED:
        said["replay_delivery_id"] = _again(found).delivery_id
    _tell(found, principal, **said)


def send_by_hand(
    session_id: str, output: Mapping[str, Any], handle: Any, *, principal: Principal
) -> list[Delivery]:
    """Queue something a person says, for one handle the session may use; a local one makes none.

    What its metadata names by ``delivery_idempotency_key`` is queued once for a target, whoever says it again
    and in whatever session: then the delivery that was there is returned.
    Raises: SessionMissing, InvalidReplyTarget, ReplyTargetForbidden, NotFound.
    """
    said = redact(dict(output))
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
            content=said.get("content", ""),
            parts=said.get("parts", ()),
            attachments=said.get("attachments", ()),
            metadata={**said.get("metadata", {}), "sent_by": principal.name},
        )


def _named(metadata: Mapping[str, Any]) -> str:
    name = metadata.get(IDEMPOTENCY_KEY)
    return f"named:{sha256_hex(name)}" if name else ""


def _resolve(found: Delivery, principal: Principal, reason: str) -> None:
    found.resolved_at, found.resolved_by = clock.now(), principal.name
    found.resolution_reason = redact(reason)[:_LONGEST_REASON]
    found.save(update_fields=["resolved_at", "resolved_by", "resolution_reason"])


def _tell(found: Delivery, principal: Principal, **said: Any) -> None:
    journal.append(found.session_id, entries.decided(found, principal=principal.name, **said))


def _lock(found: Delivery) -> Delivery:
    """Lock its session, what is attached, its target, in everybody's order; return it as it is then.

    Raises: DeliveryMissing (it went meanwhile).
    """
    sessions.lock(found.session_id)
    attachments.hold(set(found.attachments))
    targets.lock(found.target_id)
    return find.get(found.delivery_id)
