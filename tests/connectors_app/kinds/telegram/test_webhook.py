"""What a webhook brings, and what it is answered."""

from typing import Any

import pytest
import telegram

from connectors_app.models import (
    BindingKey,
    IngressReceipt,
    IngressRefusal,
)
from connectors_app.services import connectors
from kheish_site.lib.canonical import digest
from sessions_app.models import Run, Session
from tests.connectors_app.kinds.telegram.rows import (
    ANN,
    FORUM,
    MOMENT,
    PRIVATE,
    SECRET,
    make_bot,
    message,
    plain,
    post,
    press,
    text_update,
)
from tests.connectors_app.rows import make_connector
from tests.factories import code_of
from tests.support.telegram_server import TOKEN

pytestmark = pytest.mark.django_db
INLINE = telegram.InlineQuery("1", ANN, "?", "")
HERE = telegram.Location(1.0, 2.0)
ELSEWHERE = telegram.CallbackQuery("q", ANN, "c", data="x", inline_message_id="i")


def only_run() -> Run:
    return Run.objects.get()


def test_a_message_becomes_a_run() -> None:
    bot = make_bot()
    update = text_update(31, "disk is full")
    answer = post(bot, update)
    assert answer.status_code == 200
    run = only_run()
    assert answer.json()["run_id"] == run.run_id
    assert run.session.session_id == "telegram:desk:100"
    assert (run.source_plugin, run.source_kind, run.actor_id) == ("telegram", "desk", "42")
    assert run.input_items == [{"type": "text", "text": "disk is full"}]
    assert run.metadata["connector_ingress_key"] == "telegram:desk:31"
    assert run.metadata["telegram_ingress_fingerprint"] == digest(update)
    assert run.metadata["telegram_update"] == update
    assert run.reply_targets == [
        {
            "plugin": "telegram",
            "address": {"connector": "desk", "chat_id": 100, "reply_to_message_id": 7},
        }
    ]
    assert IngressReceipt.objects.get().key == f"telegram:desk:{TOKEN.partition(':')[0]}:31"
    assert [key.key for key in BindingKey.objects.all()] == ["telegram:desk:100"]


@pytest.mark.parametrize("secret", [None, "", "wrong", "webhook-secret-4711-canarY", "\u00e4"])
def test_without_the_secret_nothing_is_taken(secret: str | None) -> None:
    answer = post(make_bot(), text_update(), secret=secret)
    assert answer.status_code == 401
    assert code_of(answer) == "ingress_unauthorized"
    assert not Run.objects.exists()
    assert IngressRefusal.objects.get().code == "ingress_unauthorized"


def test_open_to_all_by_explicit_word() -> None:
    bot = make_bot(allow_unauthenticated_ingress=True)
    assert post(bot, text_update(), secret=None).status_code == 401, "a secret that is set is asked for"
    connectors.put("telegram", "desk", {}, {"secret_token": None}, principal="alice")
    assert post(bot, text_update(), secret=None).status_code == 200
    Run.objects.update(outputs=[{"content": "a secret"}])
    again = post(bot, text_update(), secret=None)
    assert (again["Idempotent-Replayed"], again.json()["outputs"]) == ("true", [])


def test_a_polling_connector_has_no_webhook() -> None:
    answer = post(make_bot(ingress_mode="polling"), text_update())
    assert answer.status_code == 409
    assert code_of(answer) == "telegram_connector_polls"


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"update_id": "4", "message": {}},
        {"update_id": True},
        {"update_id": -1},
        [],
        {"update_id": 1, "message": "hi"},
        {"update_id": 1, "message": {"text": "hi"}},
        {"update_id": 1, "message": {"text": 4, "chat": {"id": 1}, "message_id": 1}},
        {"update_id": 1, "message": {"text": "hi", "chat": {"id": "1"}, "message_id": 1}},
        {"update_id": 1, "callback_query": {"id": "", "data": "x"}},
        {"update_id": 1, "callback_query": {"id": "9" * 101, "data": "x"}},
    ],
)
def test_what_is_no_update(update: Any) -> None:
    answer = post(make_bot(), update)
    assert answer.status_code == 400
    assert code_of(answer) == "invalid_telegram_update"


def test_a_press_without_data_is_refused() -> None:
    answer = post(make_bot(), press(1, None, game_short_name="chess"))
    assert answer.status_code == 400
    assert code_of(answer) == "telegram_callback_empty"


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (plain(telegram.Update(3, channel_post=message("news"))), "unsupported_update"),
        (
            plain(telegram.Update(3, inline_query=telegram.InlineQuery("1", ANN, "?", ""))),
            "unsupported_update",
        ),
        (plain(telegram.Update(3, message=message(None, new_chat_members=[ANN]))), "unsupported_message"),
        (plain(telegram.Update(3, message=message(None, location=HERE))), "unsupported_message"),
        (plain(telegram.Update(3, callback_query=ELSEWHERE)), "unsupported_update"),
    ],
    ids=["channel post", "inline query", "somebody joined", "location", "press elsewhere"],
)
def test_other_updates_are_passed_over(update: dict[str, Any], reason: str) -> None:
    answer = post(make_bot(), update)
    assert answer.status_code == 200
    assert answer.json() == {"accepted": True, "skipped": True, "reason": reason, "update_id": 3}
    assert not Run.objects.exists()


def test_what_the_bot_said_itself_is_passed_over() -> None:
    own = telegram.Message(
        message_id=1,
        date=MOMENT,
        chat=PRIVATE,
        from_user=telegram.User(4711, "Kheish", is_bot=True),
        text="x",
    )
    assert post(make_bot(), plain(telegram.Update(1, message=own))).json()["reason"] == "own_message"


def test_an_edited_message() -> None:
    post(make_bot(), plain(telegram.Update(1, edited_message=message("hello again", number=9))))
    run = only_run()
    assert run.source_kind == "edited_message"
    assert run.reply_targets[0]["address"]["reply_to_message_id"] == 9


def test_a_channel_speaks_without_a_person() -> None:
    said = telegram.Message(message_id=1, date=MOMENT, chat=FORUM, text="hi")
    post(make_bot(), plain(telegram.Update(1, message=said)))
    assert only_run().actor_id == "telegram-user"


def test_a_topic_is_a_conversation_of_its_own() -> None:
    bot = make_bot()
    post(bot, text_update(1, chat=FORUM))
    post(bot, text_update(2, chat=FORUM, message_thread_id=12, is_topic_message=True))
    assert set(Session.objects.values_list("session_id", flat=True)) == {
        "telegram:desk:-200",
        "telegram:desk:-200:12",
    }
    assert Run.objects.latest("pk").reply_targets[0]["address"] == {
        "connector": "desk",
        "chat_id": -200,
        "message_thread_id": 12,
        "reply_to_message_id": 7,
    }


def test_a_chain_of_replies_is_no_topic() -> None:
    group = telegram.Chat(id=-300, type="supergroup", title="Group")
    post(
        make_bot(),
        text_update(1, chat=group, message_thread_id=5, reply_to_message=message("first", number=5)),
    )
    assert only_run().session.session_id == "telegram:desk:-300"


def test_only_allowed_chats() -> None:
    bot = make_bot(allowed_chat_ids=[-200])
    answer = post(bot, text_update(1))
    assert answer.status_code == 400
    assert code_of(answer) == "telegram_chat_not_allowed"
    assert post(bot, press(2, "again")).status_code == 400
    assert post(bot, text_update(3, chat=FORUM)).status_code == 200


def test_where_answers_go_is_the_operators_choice() -> None:
    more = [{"plugin": "telegram", "address": {"connector": "desk", "chat_id": -200}}]
    post(make_bot(additional_reply_targets=more), text_update())
    assert [target["address"]["chat_id"] for target in only_run().reply_targets] == [100, -200]
    post(make_bot("quiet", include_self_output=False, additional_reply_targets=more), text_update(2))
    assert [target["address"]["chat_id"] for target in Run.objects.latest("pk").reply_targets] == [-200]


def test_keys_bind_a_conversation_for_good() -> None:
    bot = make_bot(fixed_session_id="incident-1", additional_binding_keys=["incident:1"])
    post(bot, text_update(1))
    connectors.put("telegram", "desk", {"fixed_session_id": ""}, {}, principal="alice")
    post(bot, text_update(2))
    assert {run.session.session_id for run in Run.objects.all()} == {"incident-1"}
    assert set(BindingKey.objects.values_list("key", flat=True)) == {"telegram:desk:100", "incident:1"}


def test_a_repeat_is_answered_with_the_first_run() -> None:
    bot = make_bot()
    first = post(bot, text_update(1))
    again = post(bot, text_update(1))
    assert again.status_code == 200
    assert again["Idempotent-Replayed"] == "true"
    assert again.json()["run_id"] == first.json()["run_id"]
    other = post(bot, text_update(1, "something else"))
    assert other.status_code == 409
    assert code_of(other) == "ingress_conflict"
    assert Run.objects.count() == 1


def test_the_same_update_at_two_bots_is_two_runs() -> None:
    for name in ("one", "two"):
        post(make_bot(name), text_update(1))
    assert Run.objects.count() == 2


def test_a_session_that_may_not_be_made() -> None:
    bot = make_bot(session_policy={"create_if_missing": False})
    assert post(bot, text_update()).status_code == 409
    assert not Session.objects.exists()
    assert not IngressReceipt.objects.exists()


def test_faster_than_allowed() -> None:
    bot = make_bot(ingress_events_per_second=1)
    post(bot, text_update(1))
    answer = post(bot, text_update(2))
    assert answer.status_code == 429
    assert code_of(answer) == "telegram_ingress_rate_limited"
    assert int(answer["Retry-After"]) >= 1
    assert post(bot, text_update(1)).status_code == 200, "a repeat is not counted"


def test_another_bot_has_updates_of_its_own() -> None:
    """Its numbers begin anywhere, also where those of the bot before it were."""
    post(make_bot(), text_update(1, "hello"))
    connectors.delete("telegram", "desk")
    other = {"bot_token": {"value": "777:another-canary-token"}, "secret_token": {"value": SECRET}}
    bot = make_connector("desk", kind="telegram", secrets=other, api_base_url="http://127.0.0.1:9")
    assert post(bot, text_update(1, "something else")).status_code == 200
    connectors.delete("telegram", "desk")
    assert post(make_bot(), text_update(1, "hello"))["Idempotent-Replayed"] == "true"
    assert Run.objects.count() == 2
