"""The settings of a Slack connector, and what must hold of them together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from rest_framework import serializers

from connectors_app.models import Connector
from connectors_app.services.contracts import ConnectorInvalid
from connectors_app.services.shapes import ChatSettings
from sessions_app.api.serializers.base import Flag, List, StrictSerializer, Text, Whole

API_BASE_URL: Final = "https://slack.com/api"
MOST_NAMES: Final = 500
SLACK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


class SlackId(Text):
    """An id as Slack writes it: of a team, a channel, an app."""

    def to_internal_value(self, data: Any) -> str:
        """Return the id. Raises: ValidationError."""
        text = super().to_internal_value(data)
        if not SLACK_ID.fullmatch(text):
            raise serializers.ValidationError("must be an id as Slack writes it, such as C024BE91L")
        return text


class SlackIds(List):
    """Ids that are allowed; an empty list allows every one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=SlackId(), max_length=MOST_NAMES, required=False, default=list, **kwargs)


class Host(Text):
    """The name of a host, in lower case, without port."""

    def to_internal_value(self, data: Any) -> str:
        """Return the name. Raises: ValidationError."""
        text = super().to_internal_value(data).lower()
        if not _HOST.fullmatch(text):
            raise serializers.ValidationError("must be a host name, such as files.example.com")
        return text


class TeamToken(StrictSerializer):
    """The bot token of one team, by the name of its secret slot; preferred over the connector's own."""

    team_id = SlackId()
    bot_token_secret_ref = Text(max_length=200)


class SlackSettings(ChatSettings):
    """The settings of a Slack connector. ``bot_token`` and ``signing_secret`` are secrets, not settings."""

    ingress_events_per_second = Whole(min_value=1, max_value=100_000, default=60)
    api_base_url = Text(max_length=500, default=API_BASE_URL)
    allow_private_network = Flag(
        default=False, help_text="Lets the API address be plain HTTP and inside the own network."
    )
    allowed_api_app_ids = SlackIds()
    allowed_enterprise_ids = SlackIds()
    allowed_team_ids = SlackIds()
    allowed_channel_ids = SlackIds()
    allowed_file_hosts = List(child=Host(max_length=253), max_length=50, required=False, default=list)
    team_bot_tokens = TeamToken(many=True, required=False, default=list, max_length=MOST_NAMES)  # type: ignore[call-arg]  # of the list

    def validate_team_bot_tokens(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Refuse a team that is named twice. Raises: ValidationError."""
        teams = [entry["team_id"] for entry in value]
        if len(set(teams)) != len(teams):
            raise serializers.ValidationError("a team is named twice")
        return value

    def validate_api_base_url(self, value: str) -> str:
        """Refuse anything but a plain address; drop a slash at its end. Raises: ValidationError."""
        try:
            parts = urlsplit(value)
            odd = parts.username is not None or parts.query or parts.fragment or parts.port == 0
        except ValueError:
            odd, parts = True, urlsplit("")
        if odd or parts.scheme not in ("http", "https") or not parts.hostname or value != value.strip():
            raise serializers.ValidationError("must be an address without user, query and fragment")
        return value.rstrip("/")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings of one connector, with defaults for missing ones."""

    connector: str
    api_base_url: str
    allow_private_network: bool
    allow_unauthenticated_ingress: bool
    include_self_output: bool
    additional_reply_targets: tuple[dict[str, Any], ...]
    additional_binding_keys: tuple[str, ...]
    allowed_api_app_ids: frozenset[str]
    allowed_enterprise_ids: frozenset[str]
    allowed_team_ids: frozenset[str]
    allowed_channel_ids: frozenset[str]
    allowed_file_hosts: frozenset[str]
    team_slots: Mapping[str, str]


def options(connector: Connector) -> Options:
    """Return the options of ``connector``, read from its row."""
    given = connector.settings
    return Options(
        connector=connector.name,
        api_base_url=given.get("api_base_url") or API_BASE_URL,
        allow_private_network=bool(given.get("allow_private_network", False)),
        allow_unauthenticated_ingress=bool(given.get("allow_unauthenticated_ingress", False)),
        include_self_output=bool(given.get("include_self_output", True)),
        additional_reply_targets=tuple(given.get("additional_reply_targets", ())),
        additional_binding_keys=tuple(given.get("additional_binding_keys", ())),
        allowed_api_app_ids=frozenset(given.get("allowed_api_app_ids", ())),
        allowed_enterprise_ids=frozenset(given.get("allowed_enterprise_ids", ())),
        allowed_team_ids=frozenset(given.get("allowed_team_ids", ())),
        allowed_channel_ids=frozenset(given.get("allowed_channel_ids", ())),
        allowed_file_hosts=frozenset(given.get("allowed_file_hosts", ())),
        team_slots={
            entry["team_id"]: entry["bot_token_secret_ref"] for entry in given.get("team_bot_tokens", ())
        },
    )


def check(settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
    """Check a whole definition; see ``Kind.check``. Raises: ConnectorInvalid."""
    if "signing_secret" not in secrets and not settings.get("allow_unauthenticated_ingress", False):
        raise ConnectorInvalid(
            "a Slack connector needs a signing_secret, or allow_unauthenticated_ingress set to true"
        )
    has_token = "bot_token" in secrets or bool(settings.get("team_bot_tokens"))
    if settings.get("include_self_output", True) and not has_token:
        raise ConnectorInvalid(
            "answering where the event came from (include_self_output) needs a bot_token or team_bot_tokens"
        )
    base = urlsplit(settings.get("api_base_url") or API_BASE_URL)
    if base.scheme != "https" and not settings.get("allow_private_network", False):
        raise ConnectorInvalid("api_base_url is https, or allow_private_network is true")
