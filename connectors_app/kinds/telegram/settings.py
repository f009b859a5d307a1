"""The settings of a Telegram connector, and what must hold of them together."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from connectors_app.kinds.telegram.names import POLLING, WEBHOOK, chat_name
from connectors_app.services.contracts import ConnectorInvalid
from connectors_app.services.shapes import ChatSettings
from sessions_app.api.serializers.base import Choice, List, Text, Whole

PUBLIC_API: Final = "https://api.telegram.org"


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string", "pattern": "^-?[1-9][0-9]{0,17}$"}]})
class ChatNumber(serializers.Field):
    """The number of a chat, also as digits; always a string in the stored settings."""

    def to_internal_value(self, data: Any) -> str:
        """Return the number's digits. Raises: ValidationError."""
        try:
            chat = chat_name(data)
        except ValueError:
            chat = "@"
        if chat.startswith("@"):
            raise serializers.ValidationError("must be the number of a chat; names can be given away")
        return chat

    def to_representation(self, value: str) -> str:
        """Return the number as it is stored."""
        return value


class TelegramSettings(ChatSettings):
    """A bot, how its updates arrive, and whom it listens to. Secrets: ``bot_token``, ``secret_token``."""

    api_base_url = Text(
        required=False,
        default=PUBLIC_API,
        max_length=500,
        help_text="Where the Bot API is. A Bot API server of your own may be in a private network.",
    )
    ingress_mode = Choice(choices=[WEBHOOK, POLLING], required=False, default=WEBHOOK)
    polling_timeout_seconds = Whole(min_value=1, max_value=50, required=False, default=30)
    allowed_chat_ids = List(
        child=ChatNumber(),
        max_length=1000,
        required=False,
        default=list,
        help_text="Chats whose updates are taken and that may be written to; empty is all.",
    )

    def validate_api_base_url(self, value: str) -> str:
        """Return the address without a slash at its end. Raises: ValidationError."""
        if reason := _address_problem(value):
            raise serializers.ValidationError(reason)
        return value.rstrip("/")


def check(settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
    """See ``Kind.check``."""
    polling = settings.get("ingress_mode", WEBHOOK) == POLLING
    if "bot_token" not in secrets:
        if polling:
            raise ConnectorInvalid("polling asks Telegram with the bot's token: give bot_token")
        if settings.get("include_self_output", True):
            raise ConnectorInvalid("answers in the chat need bot_token; or set include_self_output to false")
    open_to_all = settings.get("allow_unauthenticated_ingress", False)
    if not polling and "secret_token" not in secrets and not open_to_all:
        raise ConnectorInvalid("a webhook needs secret_token, or allow_unauthenticated_ingress set to true")


def _address_problem(value: str) -> str:
    if any(not "!" <= character <= "~" for character in value):
        return "must be plain ASCII without blanks"
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  # read for its error
    except ValueError:
        return "is not an address"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must begin with https:// or http:// and name a host"
    if "@" in parts.netloc or "?" in value or "#" in value:
        return "must have no user name, query or fragment"
    if parts.scheme == "http" and parts.hostname == urlsplit(PUBLIC_API).hostname:
        return "must be https there: the token is part of every address"
    return ""
