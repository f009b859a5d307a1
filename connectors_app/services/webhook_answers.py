"""The record of answers to a platform outside deliveries, such as showing a click as decided."""

from connectors_app.models import Connector
from connectors_app.services import ingress
from kheish_site.lib.transactions import write
from sessions_app.models import ActionKind, ActionPhase
from sessions_app.services import external_actions
from sessions_app.services.external_actions import Action


def record(connector: Connector, *, phase: ActionPhase, request_digest: str, outcome: str = "") -> None:
    """Record the request in a commit of its own, before it leaves and after its answer.

    Raises: LedgerUnavailable; then nothing may leave.
    """
    action = Action(
        phase=phase,
        kind=ActionKind.WEBHOOK_ANSWER,
        target=str(connector),
        grant=f"connector:{connector}",
        principal=ingress.principal_name(connector),
        request_digest=request_digest,
        outcome=outcome,
    )
    with write():
        external_actions.record(action)
