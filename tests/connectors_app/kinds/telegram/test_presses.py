"""Pressed buttons: input of a run, or a decision."""

from collections.abc import Callable
from typing import Any

import pytest

from connectors_app.models import Connector, TelegramAcknowledgement
from connectors_app.services import button_data, connectors
from kheish_site.lib.errors import Conflict
from sessions_app.engine import loop
from sessions_app.models import Approval, ExternalAction, Run
from sessions_app.services.heartbeat import Heartbeat
from tests.connectors_app.kinds.telegram.rows import make_bot, post, press, text_update
from tests.connectors_app.people import make_person
from tests.factories import code_of
from tests.sessions_app.engine.conftest import call, heartbeat, script, workspaces
from tests.support.telegram_server import Fault, TelegramServer

__all__ = ["heartbeat", "script", "workspaces"]

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


@pytest.fixture
def approval(server: TelegramServer, script: Callable[..., Any], heartbeat: Heartbeat) -> Approval:
    """Ann wrote to the bot, and the run of her message waits for a yes to a command."""
    script({"tool_calls": [call("bash", command="echo hello")]}, {"text": "done"})
    bot = make_bot(url=server.url)
    post(bot, text_update(1, "say hello"))
    loop.drive(Run.objects.get().session_id, heartbeat)
    return Approval.objects.get()


def test_a_button_decides_and_is_answered_after_that(
    server: TelegramServer, approval: Approval, heartbeat: Heartbeat
) -> None:
    bot = Connector.objects.get()
    make_person(bot, "42", "olga")
    data = button_data.for_approval(approval, "allow")
    answer = post(bot, press(2, data))
    assert answer.json() == {"accepted": True, "update_id": 2, "decided": "You allowed bash."}
    approval.refresh_from_db()
    assert approval.status == "allowed"
    assert server.acknowledged["press-1"] == {
        "callback_query_id": "press-1",
        "text": "You allowed bash.",
        "show_alert": True,
    }
    [edit] = server.named("editMessageReplyMarkup")
    assert edit.parameters == {"chat_id": 100, "message_id": 55}
    assert Run.objects.count() == 1, "a decision is no input"
    loop.drive(approval.session_id, heartbeat)
    assert Run.objects.get().status == "completed"


def test_the_same_press_again_is_not_answered_again(server: TelegramServer, approval: Approval) -> None:
    bot = Connector.objects.get()
    make_person(bot, "42", "olga")
    data = button_data.for_approval(approval, "deny")
    for _ in range(2):
        assert post(bot, press(2, data)).status_code == 200
    assert len(server.named("answerCallbackQuery")) == 1
    assert approval.votes.count() == 1
    post(bot, press(3, data, query_id="press-2"))
    assert server.acknowledged["press-2"]["text"].startswith("Already denied by olga")


def test_a_stranger_is_told_and_the_buttons_stay(server: TelegramServer, approval: Approval) -> None:
    bot = Connector.objects.get()
    assert post(bot, press(2, button_data.for_approval(approval, "allow"))).status_code == 200
    approval.refresh_from_db()
    assert approval.status == "pending"
    assert "may not decide" in server.acknowledged["press-1"]["text"]
    assert server.named("editMessageReplyMarkup") == []


def test_a_decision_stands_when_telegram_is_away(server: TelegramServer, approval: Approval) -> None:
    server.queue("answerCallbackQuery", Fault(status=500))
    server.queue("editMessageReplyMarkup", Fault(status=0))
    bot = Connector.objects.get()
    make_person(bot, "42", "olga")
    data = button_data.for_approval(approval, "allow")
    assert post(bot, press(2, data)).status_code == 200
    approval.refresh_from_db()
    assert approval.status == "allowed"
    post(bot, press(2, data))
    assert list(server.acknowledged) == ["press-1"], "said with the repeat"


@pytest.mark.parametrize("named", ["", "KHEISH_TEST_TOKEN"])
def test_forged_presses_decide_nothing(
    server: TelegramServer, approval: Approval, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Neither at a connector without its secret, nor where the secret it names is empty."""
    bot = Connector.objects.get()
    make_person(bot, "42", "olga")
    monkeypatch.setenv("KHEISH_TEST_TOKEN", "")
    given = {"secret_token": {"env": named} if named else None}
    settings = {"allow_unauthenticated_ingress": True}
    bot, _ = connectors.put("telegram", bot.name, settings, given, principal="alice")
    answer = post(bot, press(2, button_data.for_approval(approval, "allow")), secret=None)
    approval.refresh_from_db()
    assert approval.status == "pending"
    if named:
        assert (answer.status_code, code_of(answer)) == (503, "connector_secret_unreadable")
        return
    assert "takes events from anybody" in answer.json()["decided"]
    with pytest.raises(Conflict, match="unauthenticated"):
        make_person(bot, "43", "olga")


def test_what_a_press_is_answered_is_on_record(server: TelegramServer, approval: Approval) -> None:
    bot = Connector.objects.get()
    make_person(bot, "42", "olga")
    post(bot, press(2, button_data.for_approval(approval, "allow")))
    rows = ExternalAction.objects.filter(kind="webhook_answer").order_by("seq")
    phases = list(rows.values_list("phase", "outcome"))
    assert phases == [("started", ""), ("finished", "succeeded")] * 2
    assert {row.target for row in rows} == {str(bot)}
