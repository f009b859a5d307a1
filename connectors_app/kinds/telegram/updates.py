"""Reading the updates that matter to an agent. No database, no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from connectors_app.kinds.telegram.files import IncomingFile, files_of
from kheish_site.lib.errors import BadRequest

HANDLED: Final = ("message", "edited_message", "callback_query")
_LONGEST_QUERY_ID: Final = 100


class Skipped(Exception):
    """The update is valid but ignored; ``reason`` says why."""

    def __init__(self, update_id: int, reason: str) -> None:
        super().__init__(reason)
        self.update_id = update_id
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Update:
    """One handled update. ``topic_id`` 0 means no topic.

    For a pressed button ``query_id`` is the id to acknowledge it by, and ``text`` its data.
    """

    update_id: int
    kind: str
    chat_id: int
    topic_id: int
    message_id: int
    actor_id: str
    actor_is_bot: bool
    text: str
    files: tuple[IncomingFile, ...] = ()
    query_id: str = ""


def read(payload: Any) -> Update:
    """Return the update. Raises: Skipped, BadRequest (invalid_telegram_update)."""
    if not isinstance(payload, dict):
        raise _invalid("an update is a JSON object")
    update_id = payload.get("update_id")
    if not _whole(update_id) or update_id < 0:
        raise _invalid("the update has no update_id")
    for kind in HANDLED:
        if isinstance(found := payload.get(kind), dict):
            if kind == "callback_query":
                return _callback(update_id, found)
            return _message(update_id, kind, found)
        if kind in payload:
            raise _invalid(f"{kind} is not an object")
    raise Skipped(update_id, "unsupported_update")


def _message(update_id: int, kind: str, message: Mapping[str, Any]) -> Update:
    text = message.get("text") or message.get("caption") or ""
    if not isinstance(text, str):
        raise _invalid("the text of a message is a string")
    files = files_of(message)
    update = _update(
        update_id, kind, message, message.get("from") or message.get("sender_chat"), text, files=files
    )
    if not text.strip() and not files:
        raise Skipped(update_id, "unsupported_message")
    return update


def _callback(update_id: int, query: Mapping[str, Any]) -> Update:
    query_id, data, message = query.get("id"), query.get("data"), query.get("message")
    if not isinstance(query_id, str) or not 0 < len(query_id) <= _LONGEST_QUERY_ID:
        raise _invalid("the callback query has no usable id")
    if not isinstance(data, str) or not data.strip():
        raise _invalid("the callback query has no data", code="telegram_callback_empty")
    if not isinstance(message, dict):
        # The button is in an inline message, which the bot did not send: there is no chat to answer in.
        raise Skipped(update_id, "unsupported_update")
    return _update(update_id, "callback_query", message, query.get("from"), data, query_id=query_id)


def _update(
    update_id: int,
    kind: str,
    message: Mapping[str, Any],
    sender: Any,
    text: str,
    *,
    files: tuple[IncomingFile, ...] = (),
    query_id: str = "",
) -> Update:
    chat, message_id = message.get("chat"), message.get("message_id")
    if not isinstance(chat, dict) or not _whole(chat.get("id")) or not _whole(message_id):
        raise _invalid("the message has no chat.id or no message_id")
    sender = sender if isinstance(sender, dict) else {}
    return Update(
        update_id=update_id,
        kind=kind,
        chat_id=chat["id"],
        topic_id=_topic(message, chat),
        message_id=int(message_id or 0),
        actor_id=str(sender["id"]) if _whole(sender.get("id")) else "telegram-user",
        actor_is_bot=sender.get("is_bot") is True,
        text=text,
        files=files,
        query_id=query_id,
    )


def _topic(message: Mapping[str, Any], chat: Mapping[str, Any]) -> int:
    """Return the topic, or 0.

    A chain of replies in an ordinary group has a ``message_thread_id`` too, but nothing can be sent there.
    """
    thread = message.get("message_thread_id")
    if not _whole(thread) or not thread or thread < 0:
        return 0
    forum = message.get("is_topic_message") is True or chat.get("is_forum") is True
    return int(thread) if forum or "reply_to_message" not in message else 0


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _invalid(detail: str, *, code: str = "invalid_telegram_update") -> BadRequest:
    return BadRequest(detail, code=code, domain="connector_ingress")
