"""Who opens a WebSocket: a bearer token, or the login session of a browser on our own pages.

Browsers let any page open a socket with the visitor's cookies, so a login counts only together with an
``Origin`` that is this service's own (or one the operator trusts), under a host name it answers to.
"""

from dataclasses import replace
from http.cookies import CookieError
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest, parse_cookie

from kheish_site.lib import origins
from kheish_site.lib.errors import Forbidden
from sessions_app.models import Role
from sessions_app.services import access, logins
from sessions_app.services.logins import Standing
from sessions_app.services.principal import Principal


def socket_caller(scope: dict[str, Any]) -> Principal:
    """Return the caller of an ASGI websocket ``scope``; reads rows, so it runs in a reader thread.

    Raises: Unauthorized, Forbidden.
    """
    headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
    peer = str((scope.get("client") or [""])[0])[:64]
    authorization = headers.get("authorization", "")
    key = "" if authorization else _session_key(headers.get("cookie", ""))
    caller = access.authenticate(authorization, _login(key), remote_addr=peer)
    if caller.auth_method == "session" and not origins.is_ours(
        headers.get("origin", ""), headers.get("host", "")
    ):
        raise Forbidden("a login counts only on this service's own pages", code="origin_refused")
    access.require(caller, Role.VIEWER)
    return replace(caller, login=key)


def _session_key(cookie_header: str) -> str:
    try:
        return parse_cookie(cookie_header).get(settings.SESSION_COOKIE_NAME, "")
    except CookieError:
        return ""


def _login(key: str) -> Any:
    if not key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = auth.get_user(request)
    counts = user.is_authenticated and logins.standing(request.session, active=False) is Standing.GOOD
    return user if counts else None
