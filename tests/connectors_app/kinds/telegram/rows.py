"""Bots and updates for the tests; the updates are made by the objects of python-telegram-bot."""

import json
from datetime import UTC, datetime
from typing import Any

import telegram
from rest_framework.test import APIClient

from connectors_app.models import Connector
from tests.connectors_app.rows import make_connector
from tests.support.telegram_server import TOKEN

SECRET = "webhook-secret-4711-canary"
MOMENT = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
ANN = telegram.User(id=42, is_bot=False, first_name="Ann", username="ann")
PRIVATE = telegram.Chat(id=100, type="private", first_name="Ann")
FORUM = telegram.Chat(id=-200, type="supergroup", title="Incidents", is_forum=True)


def make_bot(name: str = "desk", *, url: str = "http://127.0.0.1:9", **settings: Any) -> Connector:
    """A connector with both secrets; it may create sessions."""
    secrets = {"bot_token": {"value": TOKEN}, "secret_token": {"value": SECRET}}
    return make_connector(name, kind="telegram", secrets=secrets, api_base_url=url, **settings)


def plain(update: telegram.Update) -> dict[str, Any]:
    """The update as Telegram writes it."""
    return dict(json.loads(update.to_json()))


def message(
    text: str | None = "hello", *, number: int = 7, chat: telegram.Chat = PRIVATE, **more: Any
) -> telegram.Message:
    return telegram.Message(message_id=number, date=MOMENT, chat=chat, from_user=ANN, text=text, **more)


def text_update(update_id: int = 1, text: str = "hello", **more: Any) -> dict[str, Any]:
    return plain(telegram.Update(update_id=update_id, message=message(text, **more)))


def press(update_id: int, data: str | None, *, query_id: str = "press-1", **more: Any) -> dict[str, Any]:
    """Ann presses a button under message 55."""
    query = telegram.CallbackQuery(
        id=query_id, from_user=ANN, chat_instance="c", message=message("?", number=55), data=data, **more
    )
    return plain(telegram.Update(update_id=update_id, callback_query=query))


def post(connector: Connector, update: Any, *, secret: str | None = SECRET) -> Any:
    """What Telegram does with a webhook."""
    headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
    return APIClient().post(
        f"/v1/connectors/telegram/{connector.name}", update, format="json", headers=headers
    )
