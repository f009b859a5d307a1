"""One call of Slack's Web API, judged; and which addresses are Slack's."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx

from connectors_app.kinds.slack.settings import Options
from connectors_app.services import outbound
from connectors_app.services.contracts import Ambiguous, Refused, RetryLater
from connectors_app.services.outbound import Answer

_LIMITED: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_BROKEN: Final = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_ERROR: Final = re.compile(r"[a-z0-9_]{1,80}", re.ASCII)
_LARGEST_ANSWER_BYTES: Final = 4 * 1024 * 1024


class Unsettled(RetryLater):
    """Slack answered that it failed: most likely nothing was done, but a probe should look."""


@dataclass(frozen=True, kw_only=True)
class SlackApi:
    """The Web API as one bot sees it."""

    config: Options
    token: str
    timeout_seconds: float = 20.0

    def write(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call a method with a JSON body. Raises: Refused, RetryLater, Unsettled, Ambiguous."""
        headers = {**self._headers(), "Content-Type": "application/json; charset=utf-8"}
        content = json.dumps(body, ensure_ascii=False).encode()
        return self._call(httpx.Request("POST", self._url(method), headers=headers, content=content))

    def read(self, method: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Call a method with its arguments as a form. Raises: Refused, RetryLater, Unsettled, Ambiguous."""
        return self._call(
            httpx.Request("POST", self._url(method), headers=self._headers(), data=dict(arguments))
        )

    def upload(self, url: str, data: bytes) -> None:
        """Send a file's bytes to the address that Slack named.

        Raises: Refused, RetryLater, Unsettled, Ambiguous.
        """
        if not is_slack(url, self.config):
            raise Refused("blocked_external_fetch", "Slack named an upload address that is not Slack's")
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._exchange(httpx.Request("POST", url, headers=headers, content=data))
        _check_status(answer)

    def _call(self, request: httpx.Request) -> dict[str, Any]:
        answer = self._exchange(request)
        _check_status(answer)
        return _judged(answer)

    def _exchange(self, request: httpx.Request) -> Answer:
        return outbound.exchange(
            request,
            allow_private=is_private(str(request.url), self.config),
            timeout_seconds=self.timeout_seconds,
            limit_bytes=_LARGEST_ANSWER_BYTES,
        )

    def _url(self, method: str) -> str:
        return f"{self.config.api_base_url}/{method}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}


def is_slack(url: str, config: Options, *, more_hosts: frozenset[str] = frozenset()) -> bool:
    """Tell whether ``url`` is https at a host of Slack's or of ``more_hosts``, or at the API's origin."""
    parts = _split(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if not host or parts.username is not None:
        return False
    if same_origin(url, config.api_base_url):
        return True
    return parts.scheme == "https" and (is_slack_host(host) or host in more_hosts)


def is_slack_host(host: str) -> bool:
    """Tell whether a host belongs to Slack."""
    return host in ("slack.com", "slack-files.com") or host.endswith((".slack.com", ".slack-files.com"))


def is_private(url: str, config: Options) -> bool:
    """Tell whether ``url`` may be in a private network: only at the API's origin, and only if allowed."""
    return config.allow_private_network and same_origin(url, config.api_base_url)


def same_origin(url: str, other: str) -> bool:
    """Tell whether two addresses share scheme, host and port; False when ``url`` has a user name."""
    parts = _split(url)
    return parts.username is None and bool(parts.hostname) and _origin(parts) == _origin(_split(other))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # evaluated for its error
    except ValueError:
        return urlsplit("")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    usual = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or "").lower(), parts.port or usual


def _check_status(answer: Answer) -> None:
    if answer.status == 429:
        raise RetryLater(
            "rate_limited", "Slack: too many requests", retry_after_seconds=answer.retry_after_seconds
        )
    if answer.status >= 500 or answer.status == 408:
        raise Unsettled(
            "status",
            f"Slack answered with status {answer.status}",
            retry_after_seconds=answer.retry_after_seconds,
        )
    if answer.status != 200:
        raise Refused("status", f"Slack answered with status {answer.status}")


def _judged(answer: Answer) -> dict[str, Any]:
    """Return the body if it says ok. Raises: Refused, RetryLater, Unsettled, Ambiguous."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("ok"), bool):
        raise Ambiguous("decode", "Slack answered 200 with something that is not its API")
    if body["ok"]:
        return body
    given = body.get("error")
    error = given if isinstance(given, str) and _ERROR.fullmatch(given) else "an error without a name"
    if error in _LIMITED:
        raise RetryLater("rate_limited", f"Slack: {error}", retry_after_seconds=answer.retry_after_seconds)
    if error in _BROKEN:
        raise Unsettled("status", f"Slack: {error}", retry_after_seconds=answer.retry_after_seconds)
    raise Refused("terminal", f"Slack: {error}")
