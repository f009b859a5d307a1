"""``POST /v1/connectors/telegram/{name}``: the address a bot's webhook is set to."""

import hmac
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.ingress import IngressUnauthorized, IngressView
from connectors_app.kinds.telegram import ingress
from connectors_app.kinds.telegram.names import POLLING
from connectors_app.services import connectors
from kheish_site.lib import strict_json
from kheish_site.lib.errors import Conflict

HEADER = "X-Telegram-Bot-Api-Secret-Token"


class PollingConnector(Conflict):
    """The connector fetches its updates itself."""

    code, domain = "telegram_connector_polls", "connector_ingress"


class TelegramIngress(IngressView):
    """Authenticate, read, take; answer 200 with the run, or with the reason for having none."""

    kind: ClassVar[str] = "telegram"

    def receive(self, request: Request) -> Response:
        """Take one update."""
        if self.connector.settings.get("ingress_mode") == POLLING:
            raise PollingConnector(f"{self.connector} polls; remove the webhook of its bot")
        self._authenticate(request)
        taken = ingress.take(self.connector, strict_json.loads(self.raw))
        if taken.accepted is None:
            return Response(_without_run(taken))
        return self.answer(taken.accepted)

    def _authenticate(self, request: Request) -> None:
        """Raise IngressUnauthorized unless the header carries the secret token."""
        token = connectors.secret(self.connector, "secret_token")
        if not token and self.connector.settings.get("allow_unauthenticated_ingress"):
            return
        given = request.headers.get(HEADER, "")
        if not token or not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            raise IngressUnauthorized("the secret token is missing or wrong")


def _without_run(taken: ingress.Taken) -> dict[str, Any]:
    answer: dict[str, Any] = {"accepted": True, "update_id": taken.update_id}
    if taken.reason:
        return answer | {"skipped": True, "reason": taken.reason}
    return answer | {"decided": taken.decided}
