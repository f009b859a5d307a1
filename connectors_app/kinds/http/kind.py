"""The kind ``http``: its settings, what must hold of them, and its test event."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from connectors_app.kinds.http import bodies
from connectors_app.kinds.http.names import natural_id, receipt_key
from connectors_app.kinds.http.signatures import Proof
from connectors_app.models import Connector
from connectors_app.services.contracts import ConnectorInvalid, InboundEvent
from connectors_app.services.shapes import InboundSettings, Targets, optional_text
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.ids import new_id
from sessions_app.api.serializers.base import Choice, Flag, Text, Whole
from sessions_app.api.serializers.fields import Keys

FORMATS = ("kheish", "event")


class Settings(InboundSettings):
    """With ``body_format`` ``event`` the body is any JSON, as webhooks of other products send it.

    ``event_instructions`` then precede it in the input. JSON pointers find its members:
    ``event_binding_pointers`` those whose values bind the conversation, ``event_key_pointer`` the event's id.
    """

    ingress_events_per_second = Whole(min_value=1, max_value=100_000, default=60)
    actor_id = optional_text()
    allow_unauthenticated_ingress = Flag(default=False)
    require_hmac_signature = Flag(default=False)
    allow_payload_reply_targets = Flag(default=False)
    require_idempotency_key = Flag(default=True)
    signature_max_age_secs = Whole(min_value=1, max_value=3600, default=300)
    default_reply_targets = Targets()
    default_binding_keys = Keys()
    body_format = Choice(choices=FORMATS, default="kheish")
    event_instructions = Text(max_length=20_000, required=False, allow_blank=True, default="")
    event_binding_pointers = Keys(max_length=10)
    event_key_pointer = optional_text(max_length=1000)


class HttpKind:
    """``connectors_app.services.contracts.Kind`` for HTTP."""

    name: ClassVar[str] = "http"
    settings: ClassVar[type[serializers.Serializer]] = Settings
    secrets: ClassVar[tuple[str, ...]] = ("bearer_token", "hmac_secret")

    def check(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
        """Raise ConnectorInvalid unless senders must prove who they are, or the settings waive that."""
        signed = settings["require_hmac_signature"]
        if signed and "hmac_secret" not in secrets:
            raise ConnectorInvalid("require_hmac_signature needs an hmac_secret")
        if signed and not settings["require_idempotency_key"]:
            raise ConnectorInvalid("require_hmac_signature needs require_idempotency_key")
        if not (signed or "bearer_token" in secrets or settings["allow_unauthenticated_ingress"]):
            raise ConnectorInvalid(
                "give a bearer_token, or require_hmac_signature with an hmac_secret, "
                "or say allow_unauthenticated_ingress"
            )
        pointers = [*settings["event_binding_pointers"], settings["event_key_pointer"] or "/"]
        if any(not pointer.startswith("/") for pointer in pointers):
            raise ConnectorInvalid("a pointer is a JSON pointer such as /data/customer")

    def is_open(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> bool:
        """See ``contracts.Kind``."""
        return "bearer_token" not in secrets and not settings.get("require_hmac_signature")

    def test_event(self, connector: Connector) -> InboundEvent:
        """Return an event with the connector's own keys and targets."""
        event_id = new_id("test")
        keys = tuple(connector.settings["default_binding_keys"])
        return InboundEvent(
            key=receipt_key(connector, event_id),
            fingerprint=sha256_hex(event_id),
            actor_id=connector.settings["actor_id"] or "http-webhook",
            source_kind=connector.name,
            content="Test event: answer in one short sentence that you received it.",
            metadata={"test_event": True},
            binding_keys=keys,
            natural_session_id=natural_id(connector, keys),
            reply_targets=tuple(connector.settings["default_reply_targets"]),
        )

    def trial(self, connector: Connector, body: Any) -> InboundEvent:
        """Read ``body`` as an event of a trusted sender (``contracts.ReadsTrials``)."""
        proof = Proof(authenticated=not self.is_open(connector.settings, sorted(connector.secrets)))
        headers = {"idempotency-key": new_id("test")}  # a sender may name the event outside the body
        return bodies.read(connector, json.dumps(body).encode(), headers, proof)
