"""Deliveries out: one POST to the sidecar, whose answer decides the outcome.

Only ``committed`` with a 2xx status is a delivery. An unreadable answer with a 2xx status may have been one,
so it is ambiguous.
"""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from connectors_app.kinds.external import instances, protocol
from connectors_app.kinds.external.names import NAME
from connectors_app.kinds.external.protocol import Manifest, Sidecar, SidecarUnwell
from connectors_app.services import connectors, outbound
from connectors_app.services.contracts import (
    Address,
    Ambiguous,
    Attachment,
    Parcel,
    Refused,
    RetryLater,
    Sent,
)
from connectors_app.services.handles import InvalidReplyTarget
from connectors_app.services.outbound import Answer
from kheish_site.lib.errors import KheishError
from kheish_site.lib.redaction import redact
from kheish_site.lib.strict_json import text_problem
from kheish_site.lib.transactions import release_connection

LONGEST_ROUTE: Final = 4096
_DETAIL: Final = 512
_DELIVER_SECONDS: Final = 30.0
_DEFAULT_PAUSE_SECONDS: Final = 1.0


class ExternalSender:
    """Sends through a connector's sidecar: ``{"connector", "route"}``. Only the sidecar knows its routes."""

    plugin: str = NAME

    def normal(self, address: Any) -> Address:
        """Return the address in normal form. Raises: InvalidReplyTarget."""
        if not isinstance(address, Mapping) or set(address) != {"connector", "route"}:
            raise InvalidReplyTarget('the address of external is {"connector": NAME, "route": TEXT}')
        for member, longest in (("connector", 100), ("route", LONGEST_ROUTE)):
            text = address[member]
            bad = not isinstance(text, str) or not text.strip() or len(text) > longest
            if bad or text_problem(text):
                raise InvalidReplyTarget(f"{member} is a text of 1 to {longest} characters")
        return {"connector": address["connector"], "route": address["route"]}

    def check(self, address: Address) -> None:
        """Refuse a connector that does not exist. Raises: ConnectorMissing."""
        connectors.get(NAME, address["connector"])

    def honours_keys(self, address: Address) -> bool:
        """Tell whether the sidecar recognises a repeat (``instances.honours_keys``); False when missing."""
        try:
            return instances.honours_keys(connectors.get(NAME, address["connector"]))
        except KheishError:
            return False

    def send(self, parcel: Parcel) -> Sent:
        """Deliver once. Raises: RetryLater, Refused, Ambiguous."""
        sidecar, manifest = _reached(parcel.address["connector"])
        if parcel.attachments and not manifest.capabilities["attachments_out"]:
            raise Refused("terminal", "the sidecar takes no attachments")
        if parcel.attachments and not sidecar.token:
            raise Refused("terminal", "attachments need a shared_token, with which the sidecar fetches them")
        release_connection()
        answer = outbound.exchange(
            _request(sidecar, parcel), allow_private=sidecar.allow_private, timeout_seconds=_DELIVER_SECONDS
        )
        return _settled(answer, idempotent=manifest.capabilities["idempotent"])


def _reached(name: str) -> tuple[Sidecar, Manifest]:
    """Return the sidecar and its manifest. Raises: Refused, RetryLater; nothing was sent."""
    try:
        connector = connectors.get(NAME, name)
    except connectors.ConnectorMissing as error:
        raise Refused("terminal", error.detail) from None
    if not connector.enabled:
        raise RetryLater("internal", f"the external connector {name} is disabled")
    try:
        sidecar = protocol.sidecar_of(connector)
        return sidecar, instances.manifest_now(connector)
    except KheishError as error:
        raise RetryLater("internal", error.detail) from None
    except SidecarUnwell as error:
        if isinstance(error.__cause__, Refused):
            raise error.__cause__ from None  # a forbidden address stays forbidden: no retry helps
        raise RetryLater("connect", str(error)) from None


def _request(sidecar: Sidecar, parcel: Parcel) -> httpx.Request:
    body = {
        "protocol_version": protocol.VERSION,
        "delivery_id": parcel.delivery_id,
        "attempt": parcel.attempt,
        "reply_route": parcel.address["route"],
        "conversation": {"session_id": parcel.session_id, "thread_id": parcel.thread_id},
        "content": parcel.content,
        "parts": [*_texts(parcel), *(_attachment(sidecar.name, parcel, one) for one in parcel.attachments)],
        "artifacts": [],
        "metadata": dict(parcel.metadata),
    }
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": f"kheish:{parcel.delivery_id}",
        **sidecar.headers(),
    }
    data = json.dumps(body, ensure_ascii=False).encode()
    return httpx.Request("POST", sidecar.url("/deliver"), headers=headers, content=data)


def _texts(parcel: Parcel) -> list[dict[str, Any]]:
    """Return the text parts in order; files go as attachments, other parts are not sent."""
    texts = [part["text"] for part in parcel.parts if isinstance(part.get("text"), str)]
    return [{"type": "text", "text": text} for text in texts]


def _attachment(name: str, parcel: Parcel, attachment: Attachment) -> dict[str, Any]:
    where = f"/v1/connectors/{NAME}/{quote(name, safe='')}/deliveries/{parcel.delivery_id}"
    return {
        "type": "attachment",
        "id": attachment.asset_id,
        "media_type": attachment.media_type,
        "file_name": attachment.file_name,
        "sha256": attachment.sha256,
        "byte_length": attachment.size_bytes,
        "download_path": f"{where}/assets/{attachment.asset_id}/raw",
    }


def _settled(answer: Answer, *, idempotent: bool) -> Sent:
    """Judge the answer. Raises: RetryLater, Refused, Ambiguous."""
    body = protocol.json_object(answer.body) or {}
    status, detail = body.get("status"), _detail(body)
    done = 200 <= answer.status < 300
    if status == "terminal_error":
        raise Refused("terminal", detail or "the sidecar cannot deliver this")
    if answer.status == 429:
        pause = answer.retry_after_seconds
        raise RetryLater(
            "rate_limited",
            detail or "the sidecar asks for a pause",
            retry_after_seconds=_DEFAULT_PAUSE_SECONDS if pause is None else pause,
        )
    if status == "retryable_error":
        raise RetryLater(
            "status",
            detail or "the sidecar could not deliver this now",
            retry_after_seconds=answer.retry_after_seconds,
        )
    if done and status == "committed":
        return Sent(detail={"detail": detail} if detail else {})
    if done:
        raise Ambiguous("decode", f"the sidecar answered {answer.status} without a word of the protocol")
    if answer.status < 500:
        raise Refused("status", f"the sidecar answered {answer.status}")
    if idempotent or answer.status == 503:
        raise RetryLater(
            "status",
            f"the sidecar answered {answer.status}",
            retry_after_seconds=answer.retry_after_seconds,
        )
    raise Ambiguous("status", f"the sidecar answered {answer.status}")


def _detail(body: Mapping[str, Any]) -> str:
    detail = body.get("detail")
    return str(redact(detail))[:_DETAIL] if isinstance(detail, str) else ""
