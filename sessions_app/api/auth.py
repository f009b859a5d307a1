"""Who sent a request: a bearer token, or a person logged in with Django's session and CSRF token.

Imports no view module: DRF loads this while its own views are still being imported.
"""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from kheish_site.lib.http import CHALLENGE
from sessions_app.services import access
from sessions_app.services.principal import Principal


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer kh_…``. A wrong token is refused, never ignored."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        """Return the caller of an ``Authorization`` header; ``None`` without one. Raises: Unauthorized."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        return AnonymousUser(), access.authenticate(header, None, remote_addr=remote_addr(request))

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return CHALLENGE


class LoginAuthentication(SessionAuthentication):
    """A logged-in person; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        """Return the logged-in person, or ``None``."""
        user = getattr(request._request, "user", None)
        if user is None or not user.is_active:
            return None
        self.enforce_csrf(request)
        return user, access.authenticate("", user, remote_addr=remote_addr(request))


def remote_addr(request: Any) -> str:
    """Return the address of the peer, as the server saw it."""
    return str(request.META.get("REMOTE_ADDR") or "")[:64]
