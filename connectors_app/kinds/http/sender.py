"""Sends to any HTTP endpoint: one POST of JSON for each output.

The URL is checked when it is set and its name is resolved and pinned at each attempt; redirects are never
followed, so a target cannot send us anywhere else.
"""

import json
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

import httpx
from django.conf import settings

from connectors_app.services import outbound
from connectors_app.services.contracts import (
    Address,
    Ambiguous,
    Attachment,
    Parcel,
    Refused,
    RetryLater,
    Sent,
)
from connectors_app.services.outbound import Answer
from kheish_site.lib.errors import BadRequest
from sessions_app.tools.addresses import is_public
from sessions_app.tools.base import ToolFailure
from sessions_app.tools.web_get import parse_url

_MEMBERS: Final = frozenset({"url", "headers", "allow_private_network", "idempotent"})
_FORBIDDEN: Final = frozenset(
    {
        "authorization", "connection", "content-length", "content-type", "cookie", "forwarded", "host",
        "idempotency-key", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
        "x-api-key",
    }
)  # fmt: skip
_FORBIDDEN_PREFIX: Final = "x-forwarded-"
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]{0,4096}")
_MOST_HEADERS: Final = 20
_LONGEST_URL: Final = 2000
_OF_GATEWAYS: Final = {502: "status", 504: "timeout"}


class HttpSender:
    """The plugin ``http``. An address is a URL, or ``{url, headers, allow_private_network, idempotent}``.

    ``idempotent`` says that the target recognises a repeat by its ``Idempotency-Key``; without it the outcome
    of a request that left and was not answered is unknown.
    """

    plugin = "http"

    def normal(self, address: Any) -> Address:
        """Return the address in one spelling. Raises: BadRequest(invalid_reply_target)."""
        given = {"url": address} if isinstance(address, str) else address
        if not isinstance(given, Mapping) or set(given) - _MEMBERS or not isinstance(given.get("url"), str):
            raise _refusal("an http address is a URL, or has url, headers, allow_private_network, idempotent")
        flags = {name: given.get(name, False) for name in ("allow_private_network", "idempotent")}
        if not all(isinstance(flag, bool) for flag in flags.values()):
            raise _refusal("allow_private_network and idempotent are true or false")
        headers = _headers(given.get("headers") or {})
        return {
            "url": _url(str(given["url"]), allow_private=flags["allow_private_network"] is True),
            **({"headers": headers} if headers else {}),
            **{name: True for name, flag in flags.items() if flag},
        }

    def check(self, address: Address) -> None:
        """Check nothing: ``normal`` has checked all there is."""

    def honours_keys(self, address: Address) -> bool:
        """Return what the address declares."""
        return bool(address.get("idempotent"))

    def send(self, parcel: Parcel) -> Sent:
        """POST once. Raises: RetryLater, Refused, Ambiguous."""
        address = parcel.address
        headers = {
            **address.get("headers", {}),
            "Content-Type": "application/json",
            "Idempotency-Key": parcel.idempotency_key,
            "User-Agent": "kheish",
        }
        content = json.dumps(_body(parcel), ensure_ascii=False).encode("utf-8", "replace")
        answer = outbound.exchange(
            httpx.Request("POST", address["url"], headers=headers, content=content),
            allow_private=bool(address.get("allow_private_network")),
            timeout_seconds=settings.KHEISH.deliveries.timeout_seconds,
        )
        return _judged(answer)


def _judged(answer: Answer) -> Sent:
    reason = f"the target answered {answer.status}"
    if 200 <= answer.status < 300:
        return Sent(detail={"status": answer.status})
    if answer.status == 429:
        raise RetryLater("rate_limited", reason, retry_after_seconds=answer.retry_after_seconds)
    if answer.status in _OF_GATEWAYS:
        # The target behind the gateway may still have taken it.
        raise Ambiguous(_OF_GATEWAYS[answer.status], reason)
    if answer.status >= 500:
        raise RetryLater("status", reason, retry_after_seconds=answer.retry_after_seconds)
    raise Refused("terminal", reason)


def _body(parcel: Parcel) -> dict[str, Any]:
    artifacts = [_artifact(attachment) for attachment in parcel.attachments]
    by_id = {artifact["asset_id"]: artifact for artifact in artifacts}
    return {
        "session_id": parcel.session_id,
        "thread_id": parcel.thread_id or None,
        "run_id": parcel.run_id or None,
        "content": parcel.content,
        "parts": list(parcel.parts),
        "resolved_parts": [{**part, **by_id.get(part.get("asset_id", ""), {})} for part in parcel.parts],
        "artifacts": artifacts,
        "artifact_attachments": [
            {**artifact, "download_path": f"/v1/assets/{artifact['asset_id']}/raw"} for artifact in artifacts
        ],
        "metadata": dict(parcel.metadata),
    }


def _artifact(attachment: Attachment) -> dict[str, Any]:
    return {
        "asset_id": attachment.asset_id,
        "media_type": attachment.media_type,
        "file_name": attachment.file_name,
        "sha256": attachment.sha256,
        "size_bytes": attachment.size_bytes,
    }


def _url(text: str, *, allow_private: bool) -> str:
    if len(text) > _LONGEST_URL:
        raise _refusal(f"the url has more than {_LONGEST_URL} characters")
    try:
        url = parse_url(text.strip())
    except ToolFailure as refused:
        raise _refusal(f"the url: {refused.message}") from refused
    if not allow_private and _is_private(url.host):
        raise _refusal(
            "the url names this machine or a private network; to allow that, write it as "
            '{"plugin": "http", "address": {"url": …, "allow_private_network": true}}'
        )
    return str(url.copy_with(fragment=None))


def _is_private(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(ip_address(name.strip("[]")))
    except ValueError:
        return False


def _headers(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping) or len(given) > _MOST_HEADERS:
        raise _refusal(f"headers is an object of at most {_MOST_HEADERS} names and values")
    found: dict[str, str] = {}
    for name, value in given.items():
        lower = str(name).lower()
        if not _HEADER_NAME.fullmatch(lower) or lower in found:
            raise _refusal("a header has a name of its own, without spaces")
        if lower in _FORBIDDEN or lower.startswith(_FORBIDDEN_PREFIX):
            raise _refusal(f"the header {lower} may not be set")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise _refusal(f"the value of the header {lower} must be printable ASCII")
        found[lower] = value
    return found


def _refusal(detail: str) -> BadRequest:
    return BadRequest(detail, code="invalid_reply_target", domain="connectors")
