"""Settings that several kinds share, as strict serializers."""

from typing import Any, Final

from sessions_app.api.serializers.base import Flag, JsonObject, List, StrictSerializer, Text, Whole
from sessions_app.api.serializers.fields import CapabilityScope, CredentialScope, Keys

MOST_TARGETS: Final = 20


class SessionPolicy(StrictSerializer):
    """What a session fed by the connector must be, and whether an event may create it."""

    create_if_missing = Flag(default=True)
    persona_id = Text(max_length=200, required=False, allow_blank=True, default="")
    capability_scope = CapabilityScope(required=False)
    credential_scope = CredentialScope(required=False)


class Targets(List):
    """Handles ``{"plugin", "address"}``; ``handles.normal`` judges them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=JsonObject(), max_length=MOST_TARGETS, required=False, default=list, **kwargs)


def optional_text(*, max_length: int = 200) -> Text:
    """Return a text that may be absent or empty; both mean the same."""
    return Text(max_length=max_length, required=False, allow_blank=True, default="")


class InboundSettings(StrictSerializer):
    """The settings of every kind that brings events."""

    fixed_session_id = optional_text()
    session_policy = SessionPolicy(required=False, default=lambda: {"create_if_missing": True})
    ingress_events_per_second = Whole(min_value=1, max_value=100_000, default=100)
    send_notices = Flag(
        required=False,
        help_text="Tell its targets what a run asks (slack, telegram: yes) and how tasks end (all: yes).",
    )


class ChatSettings(InboundSettings):
    """The settings of kinds that answer where the event came from."""

    allow_unauthenticated_ingress = Flag(default=False)
    include_self_output = Flag(default=True)
    additional_reply_targets = Targets()
    additional_binding_keys = Keys()
