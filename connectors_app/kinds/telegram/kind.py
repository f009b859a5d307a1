"""The kind ``telegram``, and its test event."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from rest_framework import serializers

from connectors_app.kinds.telegram import settings as telegram_settings
from connectors_app.kinds.telegram.ingress import event_of
from connectors_app.kinds.telegram.names import POLLING
from connectors_app.kinds.telegram.updates import read
from connectors_app.models import Connector
from connectors_app.services.contracts import InboundEvent
from kheish_site.lib import clock

_FIRST_ID = 2_000_000_000
"""Above the 31 bits of Telegram's own update ids, so that a test never meets a real one."""


class TelegramKind:
    """``connectors_app.services.contracts.Kind`` for Telegram bots."""

    name: ClassVar[str] = "telegram"
    settings: ClassVar[type[serializers.Serializer]] = telegram_settings.TelegramSettings
    secrets: ClassVar[tuple[str, ...]] = ("bot_token", "secret_token")

    def check(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
        """Raise ConnectorInvalid unless updates can be trusted and answered."""
        telegram_settings.check(settings, secrets)

    def is_open(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> bool:
        """See ``contracts.Kind``."""
        return settings.get("ingress_mode") != POLLING and "secret_token" not in secrets

    def test_event(self, connector: Connector) -> InboundEvent:
        """Return a message in the first allowed chat, which gets the answer, or else in a made-up chat."""
        now = clock.now()
        allowed = connector.settings.get("allowed_chat_ids")
        payload = {
            "update_id": _FIRST_ID + int(now.timestamp() * 1000),
            "message": {
                "message_id": 1,
                "date": int(now.timestamp()),
                "chat": {"id": int(allowed[0]) if allowed else 1, "type": "private"},
                "from": {"id": 1, "is_bot": False, "first_name": "Test"},
                "text": "Test event: answer in one short sentence that you received it.",
            },
        }
        event = event_of(connector, None, read(payload), payload, [], [])
        targets = event.reply_targets if allowed else tuple(connector.settings["additional_reply_targets"])
        return replace(event, reply_targets=targets, metadata={**event.metadata, "test_event": True})
