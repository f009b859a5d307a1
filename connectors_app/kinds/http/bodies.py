"""What a POST to an HTTP connector says, as a neutral event."""

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
    """The event cannot be read, or says what the connector does not allow."""

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
    said = validated(HttpEvent, value)
    settings = connector.settings
    _check_allowed(connector, said, authenticated=proof.authenticated)
    keys = tuple(sorted({*(said["binding_keys"] or settings["default_binding_keys"])}))
    print_of = digest(value)
    name = _event_name(connector, (said.get("idempotency_key"), proof.event_id), headers, proof)
    return InboundEvent(
        key=receipt_key(connector, name),
        fingerprint=print_of,
        actor_id=said.get("actor_id") or settings["actor_id"] or "http-webhook",
        source_kind=connector.name,
        content=said.get("content", ""),
        input_items=tuple(dict(item) for item in said.get("input_items", ())),
        attachments=tuple(dict(item) for item in said.get("attachments", ())),
        metadata={**_metadata(said.get("metadata")), **_marks(connector, name, print_of)},
        named_session_id=said.get("session_id", ""),
        binding_keys=keys,
        natural_session_id=natural_id(connector, keys),
        reply_targets=_reply_targets(said) or tuple(settings["default_reply_targets"]),
    )


def _foreign(connector: Connector, value: Any, headers: Mapping[str, str], proof: Proof) -> InboundEvent:
    """Return somebody else's event: its whole JSON as the input, behind the connector's instructions."""
    settings = connector.settings
    print_of = digest(value)
    named = [_at(value, pointer) for pointer in settings["event_binding_pointers"]]
    short = (text if len(text) <= LONGEST_KEY else sha256_hex(text) for text in named if text)
    found = {f"http:{connector.name}:{text}" for text in short}
    keys = tuple(sorted(found or set(settings["default_binding_keys"])))
    text = json.dumps(value, ensure_ascii=False, indent=1)
    own_id = _at(value, settings["event_key_pointer"]) if settings["event_key_pointer"] else ""
    name = _event_name(connector, (own_id, proof.event_id, proof.signature), headers, proof)
    return InboundEvent(
        key=receipt_key(connector, name),
        fingerprint=print_of,
        actor_id=settings["actor_id"] or "http-webhook",
        source_kind=connector.name,
        content="\n\n".join(filter(None, [settings["event_instructions"], text])),
        metadata=_marks(connector, name, print_of),
        binding_keys=keys,
        natural_session_id=natural_id(connector, keys),
        reply_targets=tuple(settings["default_reply_targets"]),
    )


def _event_name(
    connector: Connector, said: Sequence[str | None], headers: Mapping[str, str], proof: Proof
) -> str:
    """Return what the receipt calls the event: the first name it has itself, or that of a header.

    Where a signature is asked for, a header that it does not cover names nothing: whoever captured one
    request could send it again as many events. Without any name every delivery is an event of its own, as
    nothing could tell a repeat from a second one. A blank is no name.
    """
    unsigned = () if proof.signed else (headers.get("idempotency-key"), headers.get("webhook-id"))
    given = next((name for name in (*said, *unsigned) if name and name.strip()), None)
    if given is None and connector.settings["require_idempotency_key"]:
        raise IngressInvalid("the event needs an idempotency_key", code="idempotency_key_required")
    if given is not None and len(given) > _LONGEST_IDEMPOTENCY_KEY:
        raise IngressInvalid("the idempotency key is too long", code="invalid_idempotency_key")
    return given or new_id("event")


def _marks(connector: Connector, name: str, fingerprint: str) -> dict[str, Any]:
    """Return what the run's metadata says of its event."""
    return {
        "http_ingress_key": receipt_key(connector, name),
        "http_ingress_key_sha256": sha256_hex(name),
        "http_ingress_fingerprint": fingerprint,
    }


def _check_allowed(connector: Connector, said: Mapping[str, Any], *, authenticated: bool) -> None:
    replies = {"reply_targets", "reply_plugin", "reply_address"} & set(said)
    if replies and not (authenticated and connector.settings["allow_payload_reply_targets"]):
        raise IngressInvalid(
            "this connector takes no reply targets from an event", code="reply_targets_not_allowed"
        )
    if authenticated:
        return
    if said.get("session_id") or said["binding_keys"]:
        raise IngressInvalid(
            "an event that is not authenticated cannot name a session", code="session_not_allowed"
        )
    items = [*said.get("input_items", ()), *said.get("attachments", ())]
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


def _reply_targets(said: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    if ("reply_plugin" in said) != ("reply_address" in said):
        raise IngressInvalid("reply_plugin and reply_address go together")
    first = (
        [{"plugin": said["reply_plugin"], "address": said["reply_address"]}] if "reply_plugin" in said else []
    )
    found = handles.normal_list((*first, *said.get("reply_targets", ())))
    if any(handle["address"].get("allow_private_network") for handle in found):
        raise IngressInvalid(
            "an event may not point answers into a private network", code="reply_targets_not_allowed"
        )
    return tuple(found)


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
