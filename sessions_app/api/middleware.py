"""A request id for every request: in the answer's header, in problems and in log lines."""

import re
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware
from structlog.contextvars import bound_contextvars

from kheish_site.lib.ids import new_id

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


def _begin(request: HttpRequest) -> str:
    given = request.headers.get(HEADER, "")
    request_id = given if _ACCEPTED.fullmatch(given) else new_id("req")
    request.request_id = request_id  # type: ignore[attr-defined]
    return request_id


def _end(response: HttpResponse, request_id: str) -> HttpResponse:
    response.headers.setdefault(HEADER, request_id)
    return response
