"""A failure as an HTTP answer: its document, its headers, and both for views that are not DRF's."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse

from kheish_site.lib.errors import KheishError, problem
from kheish_site.lib.redaction import redact

PROBLEM_TYPE: Final = "application/problem+json"
CHALLENGE: Final = 'Bearer realm="kheish-daemon"'
Asgi = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application: scope, receive, send."""


class MethodNotAllowed(KheishError):
    """The address exists and does not know this method."""

    code, status = "method_not_allowed", 405

    def __init__(self, detail: str, *, allowed: str = "GET, HEAD") -> None:
        super().__init__(detail)
        self.allowed = allowed


def problem_response(error: KheishError, request: HttpRequest) -> HttpResponse:
    """Return the RFC 9457 answer to ``error``, with the headers that belong to it."""
    return JsonResponse(
        problem_document(error, request),
        status=error.status,
        headers=problem_headers(error),
        content_type=PROBLEM_TYPE,
    )


def problem_document(error: KheishError, request: Any) -> dict[str, Any]:
    """Return the document of ``error`` for this request (Django's or DRF's), redacted."""
    body = problem(error) | {"instance": request.path}
    if request_id := getattr(request, "request_id", ""):
        body["request_id"] = request_id
    return dict(redact(body))


def problem_headers(error: KheishError) -> dict[str, str]:
    """Return the headers of ``error``: never cached, a challenge with 401, a time with ``Retry-After``."""
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    if error.status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    if (seconds := error.extra.get("retry_after_seconds")) is not None:
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return headers
