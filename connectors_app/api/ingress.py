"""What the ways in share: the raw body, the connector, and problems that a sender understands."""

from typing import Any, ClassVar, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connectors_app.models import Connector
from connectors_app.services import connectors, ingress, registry
from connectors_app.services.ingress import Accepted
from connectors_app.services.resolution import DOMAIN
from kheish_site.lib.errors import KheishError, PayloadTooLarge, Unauthorized
from kheish_site.lib.http import MethodNotAllowed
from sessions_app.api import problems
from sessions_app.api.views.base import SECRETS_AGE_SECONDS
from sessions_app.services import projections, secrets

_MAY_BE_ABSENT: Final = frozenset({"waiting_for", "error"})
"""What a run says beside its outputs; members that a view without them does not have."""


class IngressUnauthorized(Unauthorized):
    """The event does not prove that it comes from where it says; the answer does not say what is missing."""

    code, domain = "ingress_unauthorized", DOMAIN


class IngressView(APIView):
    """One event in: admitted connector, raw body, ``receive``; every refusal is counted and explained.

    Each kind has its sender's own format; ``kinds.described`` says which, for the OpenAPI document.
    """

    kind: ClassVar[str]
    largest_body_bytes: ClassVar[int] = 2 * 1024 * 1024
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    schema = None
    http_method_names = ["post", "get", "head"]

    connector: Connector
    raw: bytes

    def post(self, request: Request, name: str, **parts: Any) -> Response:
        """Take the event."""
        return self.admit(request, name)

    def admit(self, request: Request, name: str) -> Response:
        """Find the connector, read the body, and let the kind have them."""
        self.connector = connectors.admitted(self.kind, name)
        secrets.refresh_redaction(max_age_seconds=SECRETS_AGE_SECONDS)
        try:
            self.raw = self._body(request)
            return self.receive(request)
        except KheishError as error:
            ingress.note_refusal(self.connector, error)
            raise
        except Exception as error:
            known = problems.translate(error)  # once: it logs what nobody foresaw
            if known.status < 500:
                ingress.note_refusal(self.connector, known)
            raise known from error

    def receive(self, request: Request) -> Response:
        """Authenticate, read, accept and answer. The kind's own part."""
        raise MethodNotAllowed("this address takes no events")

    def handle_exception(self, exc: Exception) -> Response:
        """Answer a refusal in the name of this door, whoever behind it refused."""
        known = problems.translate(exc)
        known.error_domain = DOMAIN
        return super().handle_exception(known)

    def answer(self, accepted: Accepted) -> Response:
        """Answer with the run of the event. Who proved nothing is not told what the run said.

        Whoever guesses an event and its key would read the agent's answer: a repeat gets the first run.
        """
        view = projections.run_view(accepted.run)
        if registry.takes_from_anybody(self.connector):
            view = {name: value for name, value in view.items() if name not in _MAY_BE_ABSENT}
            view["outputs"] = []
        return Response(view, headers={"Idempotent-Replayed": "true"} if accepted.duplicate else {})

    def _body(self, request: Request) -> bytes:
        body = request._request.body
        limit = min(self.largest_body_bytes, settings.KHEISH.max_body_bytes)
        if len(body) > limit:
            raise PayloadTooLarge(f"the body is larger than {limit} bytes")
        return body

    @property
    def default_response_headers(self) -> dict[str, str]:
        """No store may keep an answer."""
        return {**super().default_response_headers, "Cache-Control": "no-store"}
