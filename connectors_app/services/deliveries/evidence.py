"""The record of each attempt in the ledger of external actions."""

from connectors_app.models import Delivery
from kheish_site.lib.canonical import digest
from kheish_site.lib.transactions import require_transaction
from sessions_app.models import ActionKind, ActionPhase
from sessions_app.services import external_actions
from sessions_app.services.external_actions import Action


def record(delivery: Delivery, phase: ActionPhase, *, outcome: str = "") -> None:
    """Record that an attempt begins, or what came of it. Needs the transaction that commits the same.

    It holds the row of the delivery's session. Raises: LedgerUnavailable; then nothing may leave.
    """
    require_transaction()
    target = delivery.target
    if delivery.run is not None:
        delivery.run.session = delivery.session
    action = Action(
        phase=phase,
        kind=ActionKind.DELIVERY,
        target=target.name,
        grant=f"session:{delivery.session.session_id}",
        principal="" if delivery.run is not None else "system",
        request_digest=digest(_request(delivery)),
        response_digest=digest(_response(delivery)) if phase == ActionPhase.FINISHED else "",
        outcome=outcome,
        delivery_id=delivery.delivery_id,
    )
    external_actions.record(action, run=delivery.run, session_id=delivery.session.session_id)


def _request(delivery: Delivery) -> dict[str, object]:
    return {
        "delivery_id": delivery.delivery_id,
        "content": delivery.content,
        "parts": delivery.parts,
        "attachments": delivery.attachments,
        "buttons": delivery.buttons,
    }


def _response(delivery: Delivery) -> dict[str, object]:
    return {"reference": delivery.reference, "detail": delivery.detail, "error": delivery.last_error}
