"""From whatever an OpenAI-compatible server or the way to it did wrong, to the neutral error family.

Servers agree on status codes and on little else: bodies may be lists, plain text or HTML, codes may be
numbers, and an error may arrive inside a stream that began with 200.
"""

import email.utils
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import openai

from kheish_site.lib.visible import shortened
from sessions_app.providers.base import ErrorKind, ProviderError
from sessions_app.providers.bounded import AnswerTooLarge
from sessions_app.providers.retry import LONGEST_RETRY_AFTER_SECONDS

LONGEST_MESSAGE = 500

_STATUS_KINDS: dict[int, ErrorKind] = {
    401: "auth",
    402: "rate_limited",  # aggregators: the prepaid balance is used up
    403: "auth",
    408: "transport",
    409: "overloaded",
    413: "overflow",
    425: "overloaded",
    429: "rate_limited",
}
_WORD_KINDS: tuple[tuple[str, ErrorKind], ...] = (
    ("rate_limit", "rate_limited"),
    ("resource_exhausted", "rate_limited"),
    ("too_many_requests", "rate_limited"),
    ("authentication", "auth"),
    ("api_key", "auth"),
    ("permission", "auth"),
    ("invalid_request", "invalid"),
    ("invalid_argument", "invalid"),
    ("not_found", "invalid"),
)
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (?:length|window|size)"
    r"|(?:prompt|input|request) is too (?:long|large)|too many (?:input )?tokens|reduce the length"
    r"|input token count|maximum number of tokens allowed|maximum prompt length|prompt exceeds"
    r"|exceeded model token limit|range of input length|tokens \+ `?max_new_tokens",
    re.IGNORECASE,
)
# A 429 that no wait helps: one request is more than a whole minute's share.
_MORE_THAN_A_SHARE = re.compile(r"tokens must be reduced", re.IGNORECASE)
# By code and type, never by prose: "exceeded your current quota" also words a per-minute limit somewhere.
_QUOTA = re.compile(
    r"insufficient_quota|billing_(?:hard_limit|not_active)|insufficient_(?:balance|credits|funds)"
    r"|access_terminated|credit_balance",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"too (?:large|small|high|low)|at (?:most|least)|m(?:ax|in)imum|exceed|(?:above|below)_m|invalid_value",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"unsupported|unknown|unrecogni[sz]ed|not (?:supported|permitted|allowed)|extra (?:inputs|fields)"
    r"|unexpected|does not support",
    re.IGNORECASE,
)


def from_exception(error: Exception, *, secrets: Iterable[str]) -> ProviderError:
    """Translate an exception of the ``openai`` package, of httpx, or of JSON decoding."""
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, secrets)
    if isinstance(error, AnswerTooLarge):
        return too_large()
    if isinstance(error, openai.APITimeoutError | httpx.TimeoutException):
        return _error("transport", f"no answer in time ({_cause(error)})", secrets)
    if isinstance(error, openai.APIConnectionError | httpx.HTTPError | httpx.StreamError):
        return _error("transport", f"connection failed ({_cause(error)})", secrets)
    if isinstance(error, openai.APIError):
        return from_stream_body(error.body or error.message, secrets=secrets)
    if isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError):
        return _error("invalid", f"the call cannot be made ({_cause(error)})", secrets)
    if isinstance(error, ValueError | RecursionError):
        return _error("transport", "the answer holds something that is not JSON", secrets)
    return _error("unknown", f"{type(error).__name__}: {error}", secrets)


def from_stream_body(body: object, *, secrets: Iterable[str]) -> ProviderError:
    """Translate an error object that arrived after the server had said 200."""
    fields = _fields(body)
    code = str(fields.get("code"))
    status = int(code) if re.fullmatch(r"[45]\d\d", code) else None
    kind = _kind(status, fields)
    if kind == "unknown":
        kind = "overloaded"  # the request was accepted, so what failed is the server
    return _error(kind, _message(fields), secrets, status=status, quota=_is_quota(status, fields))


def too_large() -> ProviderError:
    """The answer is longer than any answer: another route may do better, the same call again will not."""
    return ProviderError("transport", "the answer is too large", retryable=False)


def rejected_field(error: openai.APIStatusError, fields: Iterable[str]) -> str | None:
    """Which of the optional ``fields`` the server refused to know, or None."""
    if error.status_code not in (400, 422):
        return None
    found = _fields(error.body)
    named = str(found.get("param") or "").split(".")[0]
    message = _message(found)
    if _VALUE.search(f"{_words(found)} {message}"):
        return None  # the field is known: it would be left out of every later call for one run's value
    for field in fields:
        if field == named or (re.search(rf"\b{field}\b", message) and _UNSUPPORTED.search(message)):
            return field
    return None


def scrub(text: str, secrets: Iterable[str]) -> str:
    """``text`` on one line, bounded, without any of the ``secrets``."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[redacted]")
    return shortened(" ".join(text.split()), LONGEST_MESSAGE)


def _from_status(error: openai.APIStatusError, secrets: Iterable[str]) -> ProviderError:
    status, fields = error.status_code, _fields(error.body)
    if 300 <= status < 400:
        return _error("invalid", "the server redirects; put the final address into base_url", secrets, status)
    wait = _retry_after(error.response.headers)
    message = _message(fields) or "no details given"
    if wait is not None and wait > LONGEST_RETRY_AFTER_SECONDS:
        message = f"asks to wait {wait:.0f} seconds, too long to ask again: {message}"
    return _error(
        _kind(status, fields),
        message,
        secrets,
        status,
        retry_after_seconds=wait,
        quota=_is_quota(status, fields),
    )


def _error(
    kind: ErrorKind,
    message: str,
    secrets: Iterable[str],
    status: int | None = None,
    *,
    retry_after_seconds: float | None = None,
    quota: bool = False,
) -> ProviderError:
    prefix = f"HTTP {status}: " if status else ""
    return ProviderError(
        "rate_limited" if quota else kind,
        scrub(prefix + message, secrets),
        retry_after_seconds=retry_after_seconds,
        status=status,
        retryable=False if quota else None,
    )


def _fields(body: object) -> Mapping[str, Any]:
    """The object that describes the error, wherever the server put it."""
    if isinstance(body, list):
        body = body[0] if body else {}
    if isinstance(body, Mapping):
        for key in ("error", "detail"):
            inner = body.get(key)
            if isinstance(inner, Mapping):
                return inner
            if isinstance(inner, str):
                return {**body, "message": inner}
        return body
    return {"message": str(body)} if body else {}


def _message(fields: Mapping[str, Any]) -> str:
    message = fields.get("message") or fields.get("detail") or ""
    text = message if isinstance(message, str) else str(message)
    return "the server answered with a web page" if re.match(r"\s*<(?:!doctype|html)", text, re.I) else text


def _kind(status: int | None, fields: Mapping[str, Any]) -> ErrorKind:
    words = _words(fields)
    described = f"{words} {_message(fields)}"
    if status in (None, 400, 413, 422, 500) and _OVERFLOW.search(described):
        return "overflow"
    if status == 429 and _MORE_THAN_A_SHARE.search(described):
        return "overflow"
    if status is None:
        return next((kind for word, kind in _WORD_KINDS if word in words), "unknown")
    if status == 400 and "api_key_invalid" in described.lower().replace(" ", "_"):
        return "auth"  # Gemini answers 400 to a wrong key
    return _STATUS_KINDS.get(status) or ("overloaded" if status >= 500 else "invalid")


def _is_quota(status: int | None, fields: Mapping[str, Any]) -> bool:
    return status == 402 or bool(_QUOTA.search(_words(fields)))


def _words(fields: Mapping[str, Any]) -> str:
    return " ".join(str(fields.get(name) or "") for name in ("code", "type", "status")).lower()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``retry-after-ms`` or ``Retry-After`` (seconds or a date); None without or unreadable."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", value):
            return float(value) * unit
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment.timestamp() - time.time())


def _cause(error: BaseException) -> str:
    """The innermost reason: the package's own text is only "Connection error."."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
