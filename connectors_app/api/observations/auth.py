"""Who uploads: a device with a token of its source, which opens nothing else; no API token, no login."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from connectors_app.models import ObservationSource
from connectors_app.services.observations import source_tokens
from kheish_site.lib.errors import Forbidden, Unauthorized
from kheish_site.lib.http import CHALLENGE
from sessions_app.api.auth import remote_addr
from sessions_app.services.principal import Principal


class ForeignSource(Forbidden):
    """The token belongs to another source."""

    code, domain = "observation_source_forbidden", "observations"


@dataclass(frozen=True, kw_only=True)
class Device(Principal):
    """The caller of an upload: no role, so that nothing else lets it in."""

    source: ObservationSource


class SourceTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer ko_…`` and nothing else."""

    def authenticate(self, request: Request) -> tuple[Any, Device]:
        """Return the device. Raises: Unauthorized."""
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthorized("send the token of the observation source: Bearer ko_...")
        source = source_tokens.find(secret.strip()).source
        device = Device(
            name=f"observation:{source.source_id}",
            role="",
            auth_method="token",
            remote_addr=remote_addr(request),
            source=source,
        )
        return AnonymousUser(), device

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return CHALLENGE


class OwnSource(BasePermission):
    """A device uploads to its own source."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Pass, or raise ForeignSource."""
        assert isinstance(request.auth, Device)
        if request.auth.source.source_id != view.kwargs["source_id"]:
            raise ForeignSource("this token uploads to another source")
        return True


class SourceTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Upload tokens in the document."""

    target_class = "connectors_app.api.observations.auth.SourceTokenAuthentication"
    name = "observation_token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "ko_…"}
