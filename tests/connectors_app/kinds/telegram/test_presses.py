"""Pressed buttons: input of a run, or a decision."""

import base64
from typing import Any

import pytest
import telegram

from connectors_app.kinds.telegram import files
from connectors_app.models import Connector, IngressReceipt, TelegramAcknowledgement
from connectors_app.services import ingress
from sessions_app.models import Run
from tests.connectors_app.kinds.telegram.rows import make_bot, message, plain, post, press
from tests.factories import code_of
from tests.support.telegram_server import Fault, TelegramServer, refusal

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_press_is_acknowledged_once_after_its_run(server: TelegramServer) -> None:
    bot = make_bot(url=server.url)
    assert post(bot, press(1, "deploy")).status_code == 200
    run = Run.objects.get()
    assert (run.source_kind, run.actor_id) == ("callback_query", "42")
    assert run.input_items[0]["text"] == "deploy"
    assert run.reply_targets[0]["address"]["reply_to_message_id"] == 55
    assert post(bot, press(1, "deploy")).status_code == 200
    assert [call.parameters for call in server.named("answerCallbackQuery")] == [
        {"callback_query_id": "press-1"}
    ]
    assert server.named("editMessageReplyMarkup") == []
    assert Run.objects.count() == 1


def test_an_acknowledgement_that_failed_is_made_with_the_repeat(server: TelegramServer) -> None:
    server.queue("answerCallbackQuery", Fault(status=0))
    bot = make_bot(url=server.url)
    assert post(bot, press(1, "deploy")).status_code == 200, "the run is what counts"
    assert not TelegramAcknowledgement.objects.exists()
    post(bot, press(1, "deploy"))
    assert list(server.acknowledged) == ["press-1"]
    assert Run.objects.count() == 1


def test_a_press_that_is_refused_is_not_acknowledged(server: TelegramServer) -> None:
    bot = make_bot(url=server.url, session_policy={"create_if_missing": False})
    assert post(bot, press(1, "deploy")).status_code == 409
    assert server.calls == []
