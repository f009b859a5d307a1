"""The one family of errors a caller may see, and its RFC 9457 form.

Services raise these; the API, the admin and the consumers translate them. ``code`` is stable and
documented, ``detail`` is safe to show to anybody who may call the verb.
"""

from http import HTTPStatus
from typing import Any, ClassVar


class KheishError(Exception):
    """Base of every failure with a stable code.

    ``extra`` holds JSON-safe members that the problem document carries beside the standard ones, for
    instance the winning decision of a conflict.
    """

    code: ClassVar[str] = "internal_error"
    domain: ClassVar[str] = ""
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, code: str = "", domain: str = "", **extra: Any) -> None:
        super().__init__(detail or self.__class__.__name__)
        self.detail = detail
        self.error_code = code or self.code
        self.error_domain = domain or self.domain
        self.extra = extra


class BadRequest(KheishError):
    """The input cannot be read or breaks a rule of its own."""

    code, status = "bad_request", 400


class Unauthorized(KheishError):
    """No credentials, or credentials nobody knows."""

    code, status = "unauthorized", 401


class Forbidden(KheishError):
    """The caller is known and may not do this."""

    code, status = "forbidden", 403


class NotFound(KheishError):
    """No such object, or none that the caller may see."""

    code, status = "not_found", 404


class Conflict(KheishError):
    """The object is not in a state that allows this."""

    code, status = "conflict", 409


class PreconditionFailed(KheishError):
    """``If-Match`` names an older version."""

    code, status = "precondition_failed", 412


class PayloadTooLarge(KheishError):
    """The body or one of its parts is over its limit."""

    code, status = "payload_too_large", 413


class PreconditionRequired(KheishError):
    """The write needs ``If-Match``."""

    code, status = "precondition_required", 428


class RateLimited(KheishError):
    """Too many requests; ``retry_after_seconds`` may be in ``extra``."""

    code, status, retryable = "rate_limited", 429, True


class Unavailable(KheishError):
    """The service cannot answer now."""

    code, status, retryable = "service_unavailable", 503, True


def problem(error: KheishError) -> dict[str, Any]:
    """Return the RFC 9457 document for ``error`` (``application/problem+json``)."""
    try:
        title = HTTPStatus(error.status).phrase
    except ValueError:
        title = "Error"
    body: dict[str, Any] = {
        "type": f"urn:kheish:problem:{error.error_code}",
        "title": title,
        "status": error.status,
        "detail": error.detail or title,
        "code": error.error_code,
        "retryable": error.retryable,
    }
    if error.error_domain:
        body["domain"] = error.error_domain
    return body | error.extra
