"""One attempt at one delivery: what the sender gets, and what it returns. Nothing is written here."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.db import Error as DatabaseTrouble

from connectors_app.models import Delivery, DeliveryKind, DeliveryTarget
from connectors_app.services import registry
from connectors_app.services.contracts import (
    Ambiguous,
    Button,
    Parcel,
    Refused,
    RetryLater,
    SendFailure,
    Sent,
)
from connectors_app.services.deliveries import attachments, targets
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import release_connection

logger = logging.getLogger(__name__)
Outcome = Sent | SendFailure
KEY_PREFIX: Final = "kheish:"


def attempt(delivery: Delivery, keep: Callable[[dict[str, Any]], None]) -> Outcome:
    """Send ``delivery`` once and return what came of it. No transaction may be open.

    An error the sender did not foresee counts as ambiguous: nobody can know what had left. A missing database
    does not: it is used before a request leaves, or between two parts of which the first is kept.
    ``keep`` is ``Parcel.keep``; a TargetLost it raises passes through.
    """
    try:
        sender = registry.sender(delivery.target.plugin)
        if sender is None:
            return Refused("terminal", f"nothing here sends to {delivery.target.plugin}")
        parcel = _parcel(delivery, partial(_kept, keep))
        release_connection()
        return sender.send(parcel)
    except SendFailure as failure:
        return failure
    except targets.TargetLost:
        raise
    except DatabaseTrouble as error:
        logger.warning(
            "the database was away", exc_info=True,
            extra={"action": "delivery.send", "delivery": delivery.delivery_id},
        )  # fmt: skip
        return RetryLater("internal", f"the database was away before it left ({type(error).__name__})")
    except Exception as error:  # the edge: one broken sender must not stop the others
        logger.exception(
            "a sender broke", extra={"action": "delivery.send", "delivery": delivery.delivery_id}
        )
        return Ambiguous("internal", f"the sender failed ({type(error).__name__})")


def _kept(keep: Callable[[dict[str, Any]], None], progress: dict[str, Any]) -> None:
    """Keep what was confirmed. Raises: Ambiguous, as the next attempt would not know that a part has left."""
    try:
        keep(progress)
    except DatabaseTrouble as error:
        raise Ambiguous("internal", "the database was away when a confirmed part was to be kept") from error


def honours_keys(target: DeliveryTarget) -> bool:
    """Tell whether sending again to ``target`` is safe; False when that is not known."""
    sender = registry.sender(target.plugin)
    if sender is None:
        return False
    try:
        return sender.honours_keys(targets.address_of(target))
    except KheishError:
        return False


def _parcel(delivery: Delivery, keep: Callable[[dict[str, Any]], None]) -> Parcel:
    try:
        address = {**targets.address_of(delivery.target), **delivery.placement}
    except KheishError as error:
        raise RetryLater("internal", error.detail) from error
    number = {"delivery_id": delivery.delivery_id, "delivery_attempt": delivery.attempts}
    return Parcel(
        delivery_id=delivery.delivery_id,
        attempt=delivery.attempts,
        idempotency_key=f"{KEY_PREFIX}{delivery.delivery_id}",
        address=address,
        session_id=delivery.session.session_id,
        thread_id=delivery.session.thread_id,
        run_id=delivery.run.run_id if delivery.run is not None else "",
        content=delivery.content,
        literal=delivery.kind == DeliveryKind.NOTICE,
        parts=tuple(delivery.parts),
        attachments=attachments.of(delivery),
        buttons=tuple(tuple(Button(**button) for button in row) for row in delivery.buttons),
        metadata={**delivery.metadata, **number},
        progress=delivery.progress,
        keep=keep,
    )
