"""Around every request: its id, which answers, problems and log lines carry; and whether a login counts."""

import re
from collections.abc import Awaitable, Callable
from functools import cache
from inspect import iscoroutinefunction
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware
from django.utils.http import urlencode
from structlog.contextvars import bound_contextvars

from kheish_site.lib.ids import new_id
from sessions_app.services import logins
from sessions_app.services.logins import Standing

HEADER: Final = "X-Request-ID"
_ACCEPTED: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}", re.ASCII)
Next = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def request_ids(get_response: Next) -> Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]:
    """Keep a caller's own ``X-Request-ID`` if it is one short word, else give the request a new one."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponse:
            request_id = _begin(request)
            with bound_contextvars(request_id=request_id):
                return _end(await get_response(request), request_id)

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponse:
        request_id = _begin(request)
        with bound_contextvars(request_id=request_id):
            return _end(get_response(request), request_id)

    return synchronous


@sync_and_async_middleware
def standing_logins(get_response: Next) -> Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]:
    """End logins that are idle or old, and let those that lack their second factor do nothing but show it.

    Requests without the session's cookie, as those with a token, cost nothing here.
    """
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponse:
            elsewhere = await sync_to_async(_judged)(request) if _has_session(request) else None
            return elsewhere or await get_response(request)

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponse:
        return (_judged(request) if _has_session(request) else None) or get_response(request)

    return synchronous


def _has_session(request: HttpRequest) -> bool:
    return settings.SESSION_COOKIE_NAME in request.COOKIES


def _judged(request: HttpRequest) -> HttpResponse | None:
    """Return where a login that does not count has to go; None for everybody else."""
    if not request.user.is_authenticated:
        return None
    found = logins.standing(request.session, active=not _by_itself(request))
    if found is Standing.OVER:
        auth.logout(request)
    elif found is Standing.FACTOR_MISSING and not request.path.startswith(_open_pages()):
        if request.path.startswith(reverse("admin:index")):
            return HttpResponseRedirect(
                f"{reverse('second-factor')}?{urlencode({'next': request.get_full_path()})}"
            )
        request.user = AnonymousUser()
    return None


def _by_itself(request: HttpRequest) -> bool:
    """Tell whether a page that stands open asked, not a person: it listens, counts, refreshes its parts."""
    asked = request.method == "GET" and request.headers.get("X-Console") == "part"
    return asked or request.path.endswith("/stream")


@cache
def _open_pages() -> tuple[str, ...]:
    return (reverse("second-factor"), reverse("admin:logout"), reverse("admin:login"))


def _begin(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    request_id = given if _ACCEPTED.fullmatch(given) else new_id("req")
    request.request_id = request_id  # type: ignore[attr-defined]
    return request_id


def _end(response: HttpResponse, request_id: str) -> HttpResponse:
    response.headers.setdefault(HEADER, request_id)
    response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
    return response
