"""Slack as a kind of connector."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from connectors_app.kinds.slack import events
from connectors_app.kinds.slack.settings import Options, SlackSettings, check, options
from connectors_app.models import Connector
from connectors_app.services.contracts import InboundEvent, no_slot
from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from sessions_app.models import SecretSlot


class SlackKind:
    """See ``contracts.Kind``."""

    name: ClassVar[str] = "slack"
    settings: ClassVar[type[serializers.Serializer]] = SlackSettings
    secrets: ClassVar[tuple[str, ...]] = ("bot_token", "signing_secret")

    def check(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
        """Check the whole definition; needs the database. Raises: ConnectorInvalid."""
        check(settings, secrets)
        wanted = self.slots_of(settings)
        held = SecretSlot.objects.filter(slot_id__in=wanted).values_list("slot_id", flat=True)
        missing = sorted(set(wanted) - set(held))
        if missing:
            raise no_slot(missing[0], provider=self.name)

    def slots_of(self, settings: Mapping[str, Any]) -> list[str]:
        """Return the slots of the teams' own tokens."""
        return [entry["bot_token_secret_ref"] for entry in settings.get("team_bot_tokens", ())]

    def is_open(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> bool:
        """See ``contracts.Kind``."""
        return "signing_secret" not in secrets

    def test_event(self, connector: Connector) -> InboundEvent:
        """Return a message in a made-up conversation; it is answered at the session's defaults."""
        config = options(connector)
        return events.inbound(config, events.read(connector.name, _envelope(config)), answered=False)


def _envelope(config: Options) -> dict[str, Any]:
    now = clock.now().timestamp()
    return {
        "type": "event_callback",
        "api_app_id": min(config.allowed_api_app_ids, default="A0TEST"),
        "enterprise_id": min(config.allowed_enterprise_ids, default=None),
        "team_id": min(config.allowed_team_ids, default="T0TEST"),
        "event_id": new_id("Ev"),
        "event_time": int(now),
        "event": {
            "type": "message",
            "channel": min(config.allowed_channel_ids, default="C0TEST"),
            "channel_type": "channel",
            "user": "U0TEST",
            "ts": f"{now:.6f}",
            "text": "Test event: answer in one short sentence that you received it.",
        },
    }
