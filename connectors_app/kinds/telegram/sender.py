"""Sends to a chat: text in pieces, then files, one call after the other.

Each confirmed part is kept at once, so a later attempt starts at the first unconfirmed one. Telegram
recognises no keys: a call whose outcome is unknown is never repeated automatically.
"""

from typing import Any, Final

from connectors_app.kinds.telegram import parts
from connectors_app.kinds.telegram.api import CALL_SECONDS, UPLOAD_SECONDS, ApiRefused, Bot, Upload, bot_of
from connectors_app.kinds.telegram.names import chat_name
from connectors_app.kinds.telegram.parts import Part
from connectors_app.models import Connector
from connectors_app.services import connectors
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
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import release_connection

PLUGIN: Final = "telegram"
LARGEST_UPLOAD_BYTES: Final = 50 * 1000 * 1000
_MEMBERS: Final = frozenset({"connector", "chat_id", "message_thread_id", "reply_to_message_id"})
_DISABLED_SECONDS: Final = 60.0
_NO_PHOTO: Final = ("PHOTO_", "IMAGE_PROCESS_FAILED")
_LARGEST_NUMBER: Final = 2**53


class TelegramSender:
    """``connectors_app.services.contracts.Sender`` for chats."""

    plugin = PLUGIN

    def normal(self, address: Any) -> Address:
        """See ``Sender.normal``: ``{connector, chat_id, message_thread_id?, reply_to_message_id?}``."""
        if not isinstance(address, dict) or set(address) - _MEMBERS:
            raise InvalidReplyTarget(f"the address of telegram has {', '.join(sorted(_MEMBERS))}")
        connector = address.get("connector")
        if not isinstance(connector, str) or not connector.strip() or len(connector) > 100:
            raise InvalidReplyTarget("connector names a Telegram connector")
        try:
            chat = chat_name(address.get("chat_id"))
        except ValueError as error:
            raise InvalidReplyTarget(f"chat_id: {error}") from None
        found: Address = {"connector": connector, "chat_id": chat if chat.startswith("@") else int(chat)}
        for name in ("message_thread_id", "reply_to_message_id"):
            if address.get(name) is not None:
                found[name] = _positive(name, address[name])
        return found

    def queue_address(self, address: Address) -> Address:
        """See ``SharesQueues``: one queue for each chat and topic, as Telegram limits each chat."""
        return {name: value for name, value in address.items() if name != "reply_to_message_id"}

    def check(self, address: Address) -> None:
        """See ``Sender.check``."""
        connector = connectors.get(PLUGIN, address["connector"])
        if not connectors.holds(connector, "bot_token"):
            raise InvalidReplyTarget(f"{connector} has no bot_token")
        if not _is_allowed(connector, address):
            raise InvalidReplyTarget(f"the chat is not one of allowed_chat_ids of {connector}")

    def honours_keys(self, address: Address) -> bool:
        """See ``Sender.honours_keys``: Telegram does not recognise a repeat."""
        return False

    def send(self, parcel: Parcel) -> Sent:
        """See ``Sender.send``."""
        bot = _bot(parcel.address)
        release_connection()
        planned = parts.plan(parcel)
        if not planned:
            raise Refused("terminal", "there is nothing to send: no text and no file")
        sent: list[int] = [int(number) for number in parcel.progress.get("message_ids", ())]
        for index, part in enumerate(planned):
            if index < len(sent):
                continue
            sent.append(_sent(bot, parcel.address, part, first=index == 0))
            parcel.keep({"message_ids": list(sent), "parts": len(planned)})
        return Sent(
            reference=f"{parcel.address['chat_id']}/{sent[0]}",
            detail={"message_ids": sent},
        )


def _bot(address: Address) -> Bot:
    """Return the bot that writes to an address. Raises: Refused, RetryLater."""
    try:
        connector = connectors.get(PLUGIN, address["connector"])
        if not connector.enabled:
            raise RetryLater("internal", f"{connector} is disabled", retry_after_seconds=_DISABLED_SECONDS)
        if not _is_allowed(connector, address):
            raise Refused("terminal", f"the chat is not one of allowed_chat_ids of {connector}")
        bot = bot_of(connector)
    except KheishError as error:
        if error.retryable:
            raise RetryLater("internal", error.detail) from error
        raise Refused("terminal", error.detail) from error
    if bot is None:
        raise Refused("terminal", f"{connector} has no bot_token")
    return bot


def _sent(bot: Bot, address: Address, part: Part, *, first: bool) -> int:
    """Send one part and return the message's number. Raises: Refused, RetryLater, Ambiguous."""
    where: dict[str, Any] = {"chat_id": address["chat_id"]}
    if "message_thread_id" in address:
        where["message_thread_id"] = address["message_thread_id"]
    if first and "reply_to_message_id" in address:
        where["reply_parameters"] = {
            "message_id": address["reply_to_message_id"],
            "allow_sending_without_reply": True,
        }
    try:
        return _call(bot, part, where)
    except ApiRefused as error:
        if error.status != 400:
            raise
        if "reply_parameters" in where and "repl" in error.description.lower():
            # A self-hosted Bot API server may predate reply_parameters; the text matters more than its place.
            return _call(bot, part, {name: where[name] for name in where if name != "reply_parameters"})
        if part.method == "sendPhoto" and any(word in error.description for word in _NO_PHOTO):
            return _call(bot, part.as_document(), where)
        raise


def _call(bot: Bot, part: Part, where: dict[str, Any]) -> int:
    upload = None if part.attachment is None else _upload(part.file_field, part.attachment)
    result = bot.call(
        part.method,
        {**where, **part.parameters},
        upload=upload,
        timeout_seconds=CALL_SECONDS if upload is None else UPLOAD_SECONDS,
    )
    number = result.get("message_id") if isinstance(result, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise Ambiguous("decode", f"Telegram {part.method}: the answer names no message")
    return number


def _upload(file_field: str, attachment: Attachment) -> Upload:
    if attachment.size_bytes > LARGEST_UPLOAD_BYTES:
        raise Refused("terminal", f"{attachment.file_name} has more than {LARGEST_UPLOAD_BYTES} bytes")
    content = attachment.read()
    release_connection()
    return Upload(
        name=file_field, file_name=attachment.file_name, media_type=attachment.media_type, content=content
    )


def _is_allowed(connector: Connector, address: Address) -> bool:
    allowed = connector.settings.get("allowed_chat_ids") or ()
    return not allowed or str(address["chat_id"]) in allowed


def _positive(name: str, value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < _LARGEST_NUMBER:
        raise InvalidReplyTarget(f"{name} is a positive number")
    return number
