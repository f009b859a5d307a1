"""One event of a sidecar, checked and read into the neutral shape."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

from connectors_app.kinds.external import addressing
from connectors_app.models import Connector
from connectors_app.services.contracts import InboundEvent
from connectors_app.services.resolution import DOMAIN
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import BadRequest
from sessions_app.api.limits import check_metadata
from sessions_app.api.problems import field_errors
from sessions_app.api.serializers.base import Choice, List, StrictSerializer, Text, Whole

LARGEST_CONTENT_BYTES: Final = 1_048_576
LARGEST_ASSET_BYTES: Final = 1_048_576
MOST_ITEMS: Final = 64
MOST_ATTACHMENTS: Final = 10
DEFAULT_PROTOCOL: Final = 2
_LATEST_MS: Final = 2**53 - 1


class EventRejected(BadRequest):
    """The event breaks a rule of the protocol; unchanged, it will be rejected again."""

    code, domain = "external_event_rejected", DOMAIN


class _Word(Text):
    """A text that is not blank."""

    def __init__(self, *, max_length: int = 200, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Return the text. Raises: ValidationError."""
        text = super().to_internal_value(data)
        if not text.strip():
            raise serializers.ValidationError("must not be blank")
        return text


class _Relation(StrictSerializer):
    kind = _Word()
    target_event_id = _Word(max_length=500)


class _Thread(StrictSerializer):
    path = List(child=_Word(max_length=500), max_length=32, required=False, default=list)


class _Item(StrictSerializer):
    """One piece of input. Which members belong together is judged in ``_item``."""

    type = Choice(choices=["text", "asset_reference", "inline_asset"])
    text = Text(required=False, max_length=LARGEST_CONTENT_BYTES)
    asset_id = _Word(required=False)
    file_name = _Word(required=False, max_length=255)
    media_type = _Word(required=False)
    content_base64 = Text(allow_blank=True, required=False)  # an empty file is refused as one


class _Attachment(_Item):
    type = Choice(choices=["asset_reference", "inline_asset"], required=False)
    text = None  # type: ignore[assignment]  # an attachment has none


class Event(StrictSerializer):
    """The members of an event, protocol versions 1 and 2."""

    protocol_version = Whole(min_value=1, max_value=2, default=DEFAULT_PROTOCOL)
    instance_id = Text(max_length=200, required=False, allow_blank=True, default="")
    event_id = _Word(max_length=500)
    fingerprint = Text(max_length=500, required=False, allow_blank=True, default="")
    occurred_at_ms = Whole(min_value=0, max_value=_LATEST_MS, required=False)
    actor_id = _Word(required=False, default="external-user")
    source_kind = _Word(required=False, max_length=60)
    intent = _Word(required=False)
    relation = _Relation(required=False)
    thread = _Thread(required=False)
    routing_key = _Word(required=False, max_length=500, default="")
    content = Text(required=False, allow_blank=True, default="")
    input_items = List(child=_Item(), max_length=MOST_ITEMS, required=False, default=list)
    attachments = List(child=_Attachment(), max_length=MOST_ATTACHMENTS, required=False, default=list)
    reply_route = Text(max_length=4096, required=False, allow_blank=True, default="")
    metadata = serializers.JSONField(required=False, default=dict)


def read(connector: Connector, raw: Any) -> InboundEvent:
    """Return the event in the neutral shape. Needs no database. Raises: EventRejected."""
    event = _members(raw)
    settings = connector.settings
    path, routing_key = event.get("thread", {}).get("path", []), event["routing_key"]
    place = (connector.name, settings["platform"], path, routing_key)
    key = addressing.receipt_key(connector.name, event["event_id"])
    fingerprint = addressing.fingerprint(raw)
    own_key = addressing.binding_key(*place)
    content, items = _input(event, assets=not settings["allow_unauthenticated_ingress"])
    return InboundEvent(
        key=key,
        fingerprint=fingerprint,
        actor_id=event["actor_id"],
        source_kind=event.get("source_kind") or settings["platform"],
        content=content,
        input_items=items,
        metadata=_metadata(event, fingerprint),
        binding_keys=tuple(filter(None, [own_key, *settings["additional_binding_keys"]])),
        natural_session_id=addressing.natural_id(*place),
        reply_targets=_reply_targets(connector, event["reply_route"]),
    )


def _members(raw: Any) -> dict[str, Any]:
    """Return the validated members; a member that is null counts as absent."""
    given = {name: value for name, value in raw.items() if value is not None} if _is_object(raw) else raw
    shape = Event(data=given)
    if not shape.is_valid():
        first = field_errors(shape.errors)[0]
        raise EventRejected(f"{first['pointer'].lstrip('/') or 'event'}: {first['detail']}")
    event = dict(shape.validated_data)
    if len(event["content"].encode()) > LARGEST_CONTENT_BYTES:
        raise EventRejected(f"content: larger than {LARGEST_CONTENT_BYTES} bytes")
    return event


def _is_object(raw: Any) -> bool:
    return isinstance(raw, Mapping)


def _input(event: Mapping[str, Any], *, assets: bool) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Return content or items. ``assets`` permits naming assets that are stored already."""
    content, attachments = event["content"], event["attachments"]
    if event["input_items"]:
        if content or attachments:
            raise EventRejected("give input_items, or content and attachments, not both")
        return "", tuple(_item(item, assets=assets) for item in event["input_items"])
    if not content.strip() and not attachments:
        raise EventRejected("the event is empty")
    if not attachments:
        return content, ()
    text = [{"type": "text", "text": content}] if content.strip() else []
    return "", (*text, *(_item(item, assets=assets) for item in attachments))


def _item(item: Mapping[str, Any], *, assets: bool) -> dict[str, Any]:
    kind = item.get("type") or ("asset_reference" if "asset_id" in item else "inline_asset")
    needed = {
        "text": {"text"},
        "asset_reference": {"asset_id"},
        "inline_asset": {"file_name", "media_type", "content_base64"},
    }[kind]
    given = set(item) - {"type"}
    if given != needed:
        raise EventRejected(f"an item of type {kind} has the members {', '.join(sorted(needed))}")
    if kind == "asset_reference" and not assets:
        raise EventRejected("a connector without authentication may not name stored assets")
    if kind == "inline_asset":
        _check_size(item["file_name"], item["content_base64"])
    return {"type": kind, **{member: item[member] for member in sorted(needed)}}


def _check_size(file_name: str, text: str) -> None:
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise EventRejected(f"{file_name}: content_base64 is not base64") from None
    if size > LARGEST_ASSET_BYTES:
        raise EventRejected(f"{file_name}: larger than {LARGEST_ASSET_BYTES} bytes")


def _metadata(event: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    given = event["metadata"]
    own = given if isinstance(given, dict) else {"source_metadata": given}
    check_metadata(own)
    metadata = {name: value for name, value in own.items() if not name.startswith("daemon_")}
    metadata |= {
        "external_instance_id": event["instance_id"],
        "external_event_id": event["event_id"],
        "external_event_key_sha256": sha256_hex(event["event_id"]),
        "external_event_fingerprint": fingerprint,
        "external_protocol_version": event["protocol_version"],
    }
    optional = {
        "external_intent": event.get("intent"),
        "external_routing_key": event["routing_key"] or None,
        "external_relation": event.get("relation"),
        "occurred_at_ms": event.get("occurred_at_ms"),
    }
    return metadata | {name: value for name, value in optional.items() if value is not None}


def _reply_targets(connector: Connector, route: str) -> tuple[dict[str, Any], ...]:
    settings = connector.settings
    own = {"plugin": "external", "address": {"connector": connector.name, "route": route}}
    first = [own] if settings["include_self_output"] and route.strip() else []
    return (*first, *settings["additional_reply_targets"])
