"""The addresses a sidecar calls: events, credentials by lease, the assets of an unsettled delivery."""

import hmac
from urllib.parse import quote

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.ingress import IngressUnauthorized, IngressView
from connectors_app.kinds.external import assets, ingress, leases
from connectors_app.kinds.external.leases import LeaseInvalid
from connectors_app.kinds.external.names import NAME, TOKEN
from connectors_app.models import Connector
from connectors_app.services import connectors
from kheish_site.lib.strict_json import loads


class Events(IngressView):
    """``POST …/events``: one event, one answer."""

    kind = NAME

    def receive(self, request: Request) -> Response:
        """Take one event."""
        check_shared_token(request, self.connector)
        return Response(ingress.take(self.connector, loads(self.raw)))


class EventBatch(IngressView):
    """``POST …/events/batch``: at most 64 events, taken in their order, each answered on its own."""

    kind = NAME

    def receive(self, request: Request) -> Response:
        """Take the events."""
        check_shared_token(request, self.connector)
        return Response({"results": ingress.take_batch(self.connector, loads(self.raw))})


class _SidecarRead(IngressView):
    """A GET by a sidecar. It works while the connector is paused, as a pause holds back events only."""

    kind = NAME
    http_method_names = ["get", "head"]


class Credential(_SidecarRead):
    """``GET …/credentials/{env_key}``, with the lease the process was started with."""

    def get(self, request: Request, name: str, env_key: str) -> Response:
        """Answer with the value."""
        connector = connectors.get(NAME, name)
        token = _bearer(request)
        if not token:
            raise LeaseInvalid("send the lease as bearer token")
        found = leases.read(connector, token, env_key)
        return Response(
            {
                "value": found.value,
                "lease_id": found.lease.lease_id,
                "grant_id": found.lease.grant_id,
                "expires_at_ms": int(found.lease.expires_at.timestamp() * 1000),
            }
        )


class DeliveryAsset(_SidecarRead):
    """``GET …/deliveries/{delivery_id}/assets/{asset_id}/raw``, with the shared token."""

    def get(self, request: Request, name: str, delivery_id: str, asset_id: str) -> HttpResponse:
        """Answer with the bytes."""
        connector = connectors.get(NAME, name)
        check_shared_token(request, connector, always=True)
        found = assets.of_delivery(connector, delivery_id, asset_id)
        headers = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.file_name, safe='')}",
        }
        return HttpResponse(found.data, content_type=found.media_type, headers=headers)


def check_shared_token(request: Request, connector: Connector, *, always: bool = False) -> None:
    """Refuse a request without the connector's token; an open connector that has no token lets all pass.

    ``always`` asks for the token there too.

    Raises: IngressUnauthorized, Unavailable(connector_secret_unreadable).
    """
    token = connectors.secret(connector, TOKEN)
    if not token and connector.settings["allow_unauthenticated_ingress"] and not always:
        return
    same = hmac.compare_digest(_bearer(request).encode("utf-8", "replace"), token.encode())
    if not token or not same:
        raise IngressUnauthorized("the shared token is missing or wrong")


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
