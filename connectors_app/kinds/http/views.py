"""``POST /v1/connectors/http/{name}``."""

import time
from collections.abc import Mapping
from urllib.parse import quote

from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.ingress import IngressUnauthorized, IngressView
from connectors_app.kinds.http import bodies, signatures
from connectors_app.kinds.http.signatures import Proof, Signed
from connectors_app.services import connectors, ingress


class HttpIngress(IngressView):
    """Authenticate, read, accept; answer 200 with the run, the first one for a repeat."""

    kind = "http"

    def receive(self, request: Request) -> Response:
        """Take one event."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        proof = self._authenticate(request, headers)
        event = bodies.read(self.connector, self.raw, headers, proof)
        return self.answer(ingress.accept(self.connector, event))

    def _authenticate(self, request: Request, headers: Mapping[str, str]) -> Proof:
        """Check all the proofs that the connector requires. Raises: IngressUnauthorized."""
        settings = self.connector.settings
        needs_token = connectors.holds(self.connector, "bearer_token")
        if needs_token:
            token = connectors.secret(self.connector, "bearer_token")
            signatures.check_bearer(headers.get("authorization", ""), token)
        if settings["require_hmac_signature"]:
            return self._check_signature(request, headers)
        if not (needs_token or settings["allow_unauthenticated_ingress"]):
            raise IngressUnauthorized("the connector asks for a proof that it cannot check")
        return Proof(authenticated=needs_token)

    def _check_signature(self, request: Request, headers: Mapping[str, str]) -> Proof:
        if any("," in headers.get(name, "") for name in ("x-kheish-timestamp", "x-kheish-signature")):
            raise IngressUnauthorized("a signature header was sent twice")
        signed = Signed(
            method=request.method or "", target=_target(request), headers=dict(headers), body=self.raw
        )
        return signatures.check_signature(
            signed,
            connectors.secret(self.connector, "hmac_secret"),
            max_age_seconds=self.connector.settings["signature_max_age_secs"],
            now=time.time(),
        )


def _target(request: Request) -> str:
    """Return path and query exactly as they were sent."""
    asked = request._request
    raw = getattr(asked, "scope", {}).get("raw_path") or quote(asked.path, safe="/:@!$&'()*+,;=~-._").encode()
    query = asked.META.get("QUERY_STRING", "")
    return raw.decode("latin-1") + (f"?{query}" if query else "")
