"""One chat is one queue, however many messages in it are answered."""

from typing import Any

import pytest

from connectors_app.models import Delivery, DeliveryTarget
from connectors_app.services.contracts import Parcel, RetryLater, Sent
from connectors_app.services.deliveries import claims, enqueue, find, operate, send, targets
from kheish_site.lib.transactions import write
from sessions_app.models import JournalEntry, Run, Session
from sessions_app.services.principal import SYSTEM
from tests.connectors_app.conftest import say
from tests.connectors_app.kinds.telegram.rows import FORUM, make_bot, post, text_update
from tests.support.telegram_server import TelegramServer

pytestmark = pytest.mark.django_db(transaction=True)


def answer_all() -> list[Delivery]:
    """Queue an answer to each run, for where it is to go."""
    found = []
    for run in Run.objects.select_related("session").order_by("id"):
        found += say(run.session, run.reply_targets[0], f"to {run.run_id}", run=run)
    return found


def test_messages_of_one_chat_change_the_defaults_once() -> None:
    bot = make_bot()
    for number in (1, 2, 3):
        assert post(bot, text_update(number, number=number)).status_code == 200
    session = Session.objects.get()
    assert session.reply_targets == [{"plugin": "telegram", "address": {"connector": "desk", "chat_id": 100}}]
    runs = Run.objects.order_by("id")
    assert [run.reply_targets[0]["address"]["reply_to_message_id"] for run in runs] == [1, 2, 3]
    assert JournalEntry.objects.filter(session=session, kind="session.updated").count() == 1


def test_answers_of_one_chat_wait_for_each_other_and_know_their_place(server: TelegramServer) -> None:
    bot = make_bot(url=server.url)
    for number in (7, 8):
        post(bot, text_update(number, number=number))
    first, second = answer_all()
    assert first.target_id == second.target_id == DeliveryTarget.objects.get().pk
    assert targets.address_of(first.target) == {"connector": "desk", "chat_id": 100}
    work = claims.take(first.target_id, "worker-1")
    assert work is not None
    assert claims.settle(work, RetryLater("rate_limited", "slow", retry_after_seconds=30), go_on=True) is None
    assert targets.due(5) == []
    DeliveryTarget.objects.update(next_at="2020-01-01T00:00:00Z", circuit_open_until=None)
    Delivery.objects.update(next_attempt_at=None)
    work = claims.take(first.target_id, "worker-1")
    while work is not None:
        outcome = send.attempt(work.delivery, lambda progress: None)
        assert isinstance(outcome, Sent), outcome
        work = claims.settle(work, outcome, go_on=True)
    assert [call.parameters["reply_parameters"]["message_id"] for call in server.calls] == [7, 8]


def test_a_replay_knows_its_place_and_a_topic_is_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    bot = make_bot()
    post(bot, text_update(1, number=9, chat=FORUM))
    post(bot, text_update(2, number=9, chat=FORUM, message_thread_id=12, is_topic_message=True))
    whole, topic = answer_all()
    assert whole.target_id != topic.target_id
    Delivery.objects.filter(pk=topic.pk).update(status="dead_lettered")
    again, _ = operate.replay(topic.delivery_id, principal=SYSTEM)
    seen: list[Parcel] = []

    def note(self: Any, parcel: Parcel) -> Sent:
        seen.append(parcel)
        return Sent()

    monkeypatch.setattr("connectors_app.kinds.telegram.sender.TelegramSender.send", note)
    send.attempt(find.get(again.delivery_id), lambda progress: None)
    assert seen[0].address == {
        "connector": "desk",
        "chat_id": -200,
        "message_thread_id": 12,
        "reply_to_message_id": 9,
    }


def test_of_two_places_in_one_queue_the_first_counts() -> None:
    post(make_bot(), text_update(1))
    session = Session.objects.get()
    handles = [
        {"plugin": "telegram", "address": {"connector": "desk", "chat_id": 100, **place}}
        for place in ({"reply_to_message_id": 5}, {})
    ]
    with write():
        (row,) = enqueue(session, None, targets=handles, key="both", content="hello")
    assert row.placement == {"reply_to_message_id": 5}
