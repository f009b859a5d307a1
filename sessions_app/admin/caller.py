"""The person in front of the page, as the principal that every surface uses; found once a request."""

from typing import Any

from django.http import HttpRequest

from sessions_app.services import access
from sessions_app.services.principal import Principal

_NOBODY = Principal(name="", role="", auth_method="session")


def principal(request: HttpRequest) -> Principal:
    """Return the signed-in person with their role; strangers get a principal without one."""
    known: Principal | None = getattr(request, "console_principal", None)
    if known is None:
        known = _find(request)
        request.console_principal = known  # type: ignore[attr-defined]
    return known


def _find(request: HttpRequest) -> Principal:
    user: Any = request.user
    if not user.is_active or not user.is_staff:
        return _NOBODY
    return access.authenticate("", user, remote_addr=str(request.META.get("REMOTE_ADDR") or "")[:64])
