"""Every failure as ``application/problem+json`` (RFC 9457): one place decides code and status.

A traceback goes to the log, never into a body.
"""

import logging
import sys
from typing import Any, Final

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from kheish_site.lib.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    KheishError,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from kheish_site.lib.http import (
    PROBLEM_TYPE,
    MethodNotAllowed,
    problem_document,
    problem_headers,
    problem_response,
)
from kheish_site.lib.transactions import AWAY

logger = logging.getLogger(__name__)


class InvalidRequest(BadRequest):
    """The body or the query breaks its schema; ``errors`` says where."""

    code = "invalid_request"


class NotAcceptable(KheishError):
    """The caller accepts nothing this address can produce."""

    code, status = "not_acceptable", 406


class UnsupportedMediaType(KheishError):
    """The body is not JSON."""

    code, status = "unsupported_media_type", 415


class Internal(KheishError):
    """Something failed that should not; the log has the rest under the request id."""

    code, status = "internal_error", 500


def handle(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler."""
    known = translate(error)
    return Response(
        problem_document(known, context["request"]),
        status=known.status,
        headers=problem_headers(known),
        content_type=PROBLEM_TYPE,
    )


def translate(error: BaseException) -> KheishError:
    """Return the member of the family that ``error`` stands for; the unexpected is logged whole."""
    if isinstance(error, KheishError):
        return error
    if isinstance(error, exceptions.APIException):
        return _from_framework(error)
    if isinstance(error, RequestDataTooBig):
        return PayloadTooLarge("the body is larger than this service reads")
    if isinstance(error, SuspiciousOperation):
        return BadRequest("the request was refused")
    if isinstance(error, UnreadablePostError):
        return BadRequest("the body ended too early")
    if isinstance(error, Http404):
        return NotFound("there is nothing here")
    if isinstance(error, PermissionDenied):
        return Forbidden("this is not allowed")
    return _from_database(error)


def _from_framework(error: exceptions.APIException) -> KheishError:
    detail = str(error.detail) if not isinstance(error.detail, dict | list) else ""
    if isinstance(error, exceptions.ValidationError):
        return InvalidRequest("the request breaks its schema", errors=field_errors(error.detail))
    if isinstance(error, exceptions.Throttled):
        return RateLimited("too many requests", retry_after_seconds=getattr(error, "wait", None) or 1)
    if isinstance(error, exceptions.PermissionDenied) and detail.startswith("CSRF"):
        return Forbidden(detail, code="csrf_failed")
    for kind, family in _FRAMEWORK.items():
        if isinstance(error, kind):
            return family(detail)
    return Internal("the request could not be answered")


_FRAMEWORK: Final[dict[type[exceptions.APIException], type[KheishError]]] = {
    exceptions.ParseError: BadRequest,
    exceptions.NotAuthenticated: Unauthorized,
    exceptions.AuthenticationFailed: Unauthorized,
    exceptions.PermissionDenied: Forbidden,
    exceptions.NotFound: NotFound,
    exceptions.MethodNotAllowed: MethodNotAllowed,
    exceptions.NotAcceptable: NotAcceptable,
    exceptions.UnsupportedMediaType: UnsupportedMediaType,
}


def _from_database(error: BaseException) -> KheishError:
    if isinstance(error, AWAY):
        logger.warning("database unavailable", exc_info=error, extra={"action": "api.request"})
        return Unavailable("the database cannot answer now; try again", retry_after_seconds=1)
    if isinstance(error, IntegrityError):
        logger.warning("constraint refused a write", exc_info=error, extra={"action": "api.request"})
        return Conflict("somebody else changed this at the same moment; try again")
    if isinstance(error, DataError):
        logger.warning("a value does not fit its column", exc_info=error, extra={"action": "api.request"})
        return BadRequest("a value is out of range", code="invalid_request")
    logger.error("request failed", exc_info=error, extra={"action": "api.request"})
    return Internal("the request could not be answered; the log knows more under the request id")


def field_errors(detail: Any, pointer: str = "") -> list[dict[str, str]]:
    """Return DRF's nested error detail as ``[{pointer, detail}]`` with JSON pointers."""
    if isinstance(detail, dict):
        found: list[dict[str, str]] = []
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else "/" + str(name).replace("~", "~0").replace("/", "~1")
            found += field_errors(inner, pointer + step)
        return found
    if isinstance(detail, list):
        if all(isinstance(item, str) for item in detail):
            return [{"pointer": pointer, "detail": str(item)} for item in detail]
        return [
            entry for index, item in enumerate(detail) for entry in field_errors(item, f"{pointer}/{index}")
        ]
    return [{"pointer": pointer, "detail": str(detail)}]


def _is_api(request: HttpRequest) -> bool:
    return request.path_info == "/v1" or request.path_info.startswith("/v1/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler400``: refused before any view ran, for its host name for instance."""
    if _is_api(request):
        return problem_response(translate(exception), request)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """``handler500``: failed outside a view, in a middleware for instance."""
    if _is_api(request):
        error = sys.exc_info()[1]
        known = translate(error) if error else Internal("the request could not be answered")
        return problem_response(known, request)
    return defaults.server_error(request)
