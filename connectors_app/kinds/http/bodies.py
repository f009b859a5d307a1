"""The body of a POST to an HTTP connector, read into a neutral event."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rest_framework import serializers

from connectors_app.kinds.http.names import natural_id, receipt_key
from connectors_app.kinds.http.signatures import Proof
from connectors_app.models import Connector
from connectors_app.services import handles
from connectors_app.services.contracts import InboundEvent
from connectors_app.services.resolution import DOMAIN
from kheish_site.lib.canonical import digest, sha256_hex
from kheish_site.lib.errors import BadRequest
from kheish_site.lib.ids import new_id
from kheish_site.lib.strict_json import loads
from sessions_app.api.limits import check_metadata
from sessions_app.api.serializers.base import JsonObject, List, StrictSerializer, Text, validated
from sessions_app.api.serializers.fields import LONGEST_KEY, Keys
from sessions_app.api.serializers.runs import AttachmentItem, InputItem

RESERVED: Final = frozenset(
    {
        "connector",
        "connector_ingress_key",
        "http_ingress_key",
        "http_ingress_key_sha256",
        "http_ingress_fingerprint",
    }
)
_STORED: Final = ("asset_reference", "board_reference")
_MOST_ITEMS: Final = 64
_MOST_ATTACHMENTS: Final = 10
_LONGEST_IDEMPOTENCY_KEY: Final = 1000


class IngressInvalid(BadRequest):
    """The event cannot be read, or asks for something the connector does not allow."""

    code, domain = "invalid_event", DOMAIN


class HttpEvent(StrictSerializer):
    """A body in our own format."""

    session_id = Text(max_length=200, required=False)
    binding_keys = Keys()
    actor_id = Text(max_length=200, required=False)
    content = Text(required=False, allow_blank=True)
    input_items = InputItem(many=True, required=False, max_length=_MOST_ITEMS)  # type: ignore[call-arg]  # of the list
    attachments = AttachmentItem(many=True, required=False, max_length=_MOST_ATTACHMENTS)  # type: ignore[call-arg]  # of the list
    metadata = serializers.JSONField(required=False)
    reply_targets = List(child=JsonObject(), required=False, max_length=20)
    reply_plugin = Text(max_length=60, required=False)
    reply_address = serializers.JSONField(required=False)
    idempotency_key = Text(max_length=_LONGEST_IDEMPOTENCY_KEY, required=False)


def read(connector: Connector, raw: bytes, headers: Mapping[str, str], proof: Proof) -> InboundEvent:
    """Return the event. ``headers`` are lower case. Raises: IngressInvalid, InvalidJson, ValidationError."""
    value = loads(raw)
    if connector.settings["body_format"] == "event":
        return _foreign(connector, value, headers, proof)
    return _own(connector, value, headers, proof)


def _own(connector: Connector, value: Any, headers: Mapping[str, str], proof: Proof) -> InboundEvent:
    event = validated(HttpEvent, value)
    settings = connector.settings
    _check_allowed(connector, event, authenticated=proof.authenticated)
    keys = tuple(sorted({*(event["binding_keys"] or settings["default_binding_keys"])}))
    fingerprint = digest(value)
    name = _event_name(connector, (event.get("idempotency_key"), proof.event_id), headers, proof)
    return InboundEvent(
        key=receipt_key(connector, name),
        fingerprint=fingerprint,
        actor_id=event.get("actor_id") or settings["actor_id"] or "http-webhook",
        source_kind=connector.name,
        content=event.get("content", ""),
        input_items=tuple(dict(item) for item in event.get("input_items", ())),
        attachments=tuple(dict(item) for item in event.get("attachments", ())),
        metadata={**_metadata(event.get("metadata")), **_marks(connector, name, fingerprint)},
        named_session_id=event.get("session_id", ""),
        binding_keys=keys,
        natural_session_id=natural_id(connector, keys),
        reply_targets=_reply_targets(event) or tuple(settings["default_reply_targets"]),
    )


def _foreign(connector: Connector, value: Any, headers: Mapping[str, str], proof: Proof) -> InboundEvent:
    """Read another product's event: its whole JSON is the input, after the connector's instructions."""
    settings = connector.settings
    fingerprint = digest(value)
    values = [_at(value, pointer) for pointer in settings["event_binding_pointers"]]
    short = (text if len(text) <= LONGEST_KEY else sha256_hex(text) for text in values if text)
    own_keys = {f"http:{connector.name}:{text}" for text in short}
    keys = tuple(sorted(own_keys or set(settings["default_binding_keys"])))
    text = json.dumps(value, ensure_ascii=False, indent=1)
    own_id = _at(value, settings["event_key_pointer"]) if settings["event_key_pointer"] else ""
    name = _event_name(connector, (own_id, proof.event_id, proof.signature), headers, proof)
    return InboundEvent(
        key=receipt_key(connector, name),
        fingerprint=fingerprint,
        actor_id=settings["actor_id"] or "http-webhook",
        source_kind=connector.name,
        content="\n\n".join(filter(None, [settings["event_instructions"], text])),
        metadata=_marks(connector, name, fingerprint),
        binding_keys=keys,
        natural_session_id=natural_id(connector, keys),
        reply_targets=tuple(settings["default_reply_targets"]),
    )


def _event_name(
    connector: Connector, names: Sequence[str | None], headers: Mapping[str, str], proof: Proof
) -> str:
    """Return the event's name for its receipt: the first of ``names`` that is not blank, or a header's.

    Where a signature is required, headers outside it do not count: a captured request could be sent again as
    many events. An event without any name is always a new one, as nothing tells it from a repeat.
    """
    unsigned = () if proof.signed else (headers.get("idempotency-key"), headers.get("webhook-id"))
    given = next((name for name in (*names, *unsigned) if name and name.strip()), None)
    if given is None and connector.settings["require_idempotency_key"]:
        raise IngressInvalid("the event needs an idempotency_key", code="idempotency_key_required")
    if given is not None and len(given) > _LONGEST_IDEMPOTENCY_KEY:
        raise IngressInvalid("the idempotency key is too long", code="invalid_idempotency_key")
    return given or new_id("event")


def _marks(connector: Connector, name: str, fingerprint: str) -> dict[str, Any]:
    """Return the members that mark the run's metadata with its event."""
    return {
        "http_ingress_key": receipt_key(connector, name),
        "http_ingress_key_sha256": sha256_hex(name),
        "http_ingress_fingerprint": fingerprint,
    }


def _check_allowed(connector: Connector, event: Mapping[str, Any], *, authenticated: bool) -> None:
    replies = {"reply_targets", "reply_plugin", "reply_address"} & set(event)
    if replies and not (authenticated and connector.settings["allow_payload_reply_targets"]):
        raise IngressInvalid(
            "this connector takes no reply targets from an event", code="reply_targets_not_allowed"
        )
    if authenticated:
        return
    if event.get("session_id") or event["binding_keys"]:
        raise IngressInvalid(
            "an event that is not authenticated cannot name a session", code="session_not_allowed"
        )
    items = [*event.get("input_items", ()), *event.get("attachments", ())]
    if any("asset_id" in item or item.get("type") in _STORED for item in items):
        raise IngressInvalid(
            "an event that is not authenticated cannot name stored assets", code="asset_not_allowed"
        )


def _metadata(given: Any) -> dict[str, Any]:
    metadata = given if isinstance(given, dict) else {} if given is None else {"payload": given}
    reserved = sorted(RESERVED & set(metadata))
    if reserved:
        raise IngressInvalid(f"metadata may not set {reserved[0]}", code="reserved_metadata")
    check_metadata(metadata)
    return metadata


def _reply_targets(event: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    if ("reply_plugin" in event) != ("reply_address" in event):
        raise IngressInvalid("reply_plugin and reply_address go together")
    first = (
        [{"plugin": event["reply_plugin"], "address": event["reply_address"]}]
        if "reply_plugin" in event
        else []
    )
    targets = handles.normal_list((*first, *event.get("reply_targets", ())))
    if any(handle["address"].get("allow_private_network") for handle in targets):
        raise IngressInvalid(
            "an event may not point answers into a private network", code="reply_targets_not_allowed"
        )
    return tuple(targets)


def _at(value: Any, pointer: str) -> str:
    """Return the text or number at a JSON pointer, "" when there is none."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return ""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
