"""Fetching updates: in order, each once, whatever dies or fails in between."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import telegram
from django.conf import settings as django_settings

from connectors_app.kinds.telegram import ingress, poller
from connectors_app.kinds.telegram.poller import Poller
from connectors_app.kinds.telegram.polling import Polling
from connectors_app.models import Connector, IngressReceipt, IngressRefusal, TelegramOffset
from connectors_app.services import connectors
from kheish_site.lib import clock
from sessions_app.models import Run, TickLease
from tests.connectors_app.kinds.telegram.rows import FORUM, make_bot, message, plain, press, text_update
from tests.support.engine import Died
from tests.support.telegram_server import Fault, TelegramServer, refusal

pytestmark = pytest.mark.django_db(transaction=True)


def make_polling(server: TelegramServer, name: str = "desk", **settings: Any) -> Connector:
    given = {"ingress_mode": "polling", "polling_timeout_seconds": 1, **settings}
    return make_bot(name, url=server.url, **given)


def once(connector: Connector) -> float:
    """One round of a new poller, as after a restart; returns how long it would wait."""
    connector.refresh_from_db()
    return Poller(connector, threading.Event())._guarded_round()


def texts() -> list[str]:
    return [run.input_items[0]["text"] for run in Run.objects.order_by("pk")]


def next_id() -> int:
    return TelegramOffset.objects.get().next_update_id


def test_updates_are_taken_in_order_and_confirmed(server: TelegramServer) -> None:
    bot = make_polling(server)
    server.arrive(text_update(10, "one"), text_update(11, "two"))
    assert once(bot) == 0
    assert texts() == ["one", "two"]
    assert next_id() == 12
    first = server.named("getUpdates")[0].parameters
    assert "offset" not in first
    assert first["allowed_updates"] == ["message", "edited_message", "callback_query"]
    server.arrive(text_update(12, "three"))
    once(bot)
    assert server.named("getUpdates")[1].parameters["offset"] == 12
    assert texts() == ["one", "two", "three"]


def test_killed_between_acceptance_and_offset(
    server: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_polling(server)
    server.arrive(text_update(10, "one"), text_update(11, "two"))

    def die(name: str) -> None:
        raise Died(name)

    with monkeypatch.context() as patch:
        patch.setattr(poller, "crashpoint", die)
        with pytest.raises(Died):
            once(bot)
    assert texts() == ["one"]
    assert not TelegramOffset.objects.exists()
    once(bot)
    assert texts() == ["one", "two"]
    assert IngressReceipt.objects.order_by("pk")[0].duplicates == 1
    assert next_id() == 12


def test_what_is_no_input_is_passed_over(server: TelegramServer) -> None:
    bot = make_polling(server, allowed_chat_ids=[100])
    server.arrive(
        plain(telegram.Update(1, channel_post=message("news"))),
        text_update(2, chat=FORUM),
        text_update(3, "taken"),
    )
    once(bot)
    assert texts() == ["taken"]
    assert next_id() == 4
    assert IngressRefusal.objects.get().code == "telegram_chat_not_allowed"


def test_a_press_that_was_fetched_is_acknowledged(server: TelegramServer) -> None:
    server.arrive(press(1, "deploy"))
    once(make_polling(server))
    assert texts() == ["deploy"]
    assert list(server.acknowledged) == ["press-1"]


def test_too_many_at_once_wait_and_are_not_lost(server: TelegramServer) -> None:
    bot = make_polling(server, ingress_events_per_second=1)
    server.arrive(text_update(1, "one"), text_update(2, "two"))
    assert once(bot) >= 1
    assert texts() == ["one"]
    assert next_id() == 2
    connectors.put("telegram", "desk", {"ingress_events_per_second": 100_000}, {}, principal="alice")
    once(bot)
    assert texts() == ["one", "two"]


def test_a_file_that_does_not_come_holds_up_the_rest_only_for_so_long(server: TelegramServer) -> None:
    bot = make_polling(server)
    file = telegram.Document("doc", "U", file_name="a.txt", mime_type="text/plain")
    server.arrive(
        plain(telegram.Update(1, message=message(None, document=file))), text_update(2, "behind it")
    )
    server.files["doc"] = b"12345"
    server.queue("getFile", *[Fault(status=500)] * poller._MOST_TRIES)
    patient = Poller(bot, threading.Event())
    for _ in range(poller._MOST_TRIES):
        assert patient._guarded_round() > 0
    assert texts() == []
    assert patient._guarded_round() == 0
    assert texts() == ["[a.txt (text/plain) was not fetched: it could not be fetched]", "behind it"]


def test_an_update_that_breaks_us_is_given_up_after_a_while(
    server: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_polling(server)
    server.arrive(text_update(1, "poison"), text_update(2, "behind it"))
    take = ingress.take

    def fragile(connector: Connector, payload: Any, **more: Any) -> Any:
        if payload["update_id"] == 1:
            raise RuntimeError("a mistake of ours")
        return take(connector, payload, **more)

    monkeypatch.setattr(ingress, "take", fragile)
    patient = Poller(bot, threading.Event())
    waits = [patient._guarded_round() for _ in range(poller._MOST_TRIES)]
    assert waits == [1, 2, 4, 8, 16]
    patient._guarded_round()
    assert texts() == ["behind it"]
    assert IngressRefusal.objects.get().code == "internal_error"


@pytest.mark.parametrize(
    ("fault", "at_least"),
    [
        (refusal(429, "Too Many Requests: retry after 30", retry_after=30), 30),
        (refusal(401, "Unauthorized"), 1),
        (refusal(409, "Conflict: can't use getUpdates method while webhook is active"), 1),
        (Fault(body=b"nonsense"), 1),
        (Fault(body=b'{"ok": true, "result": [1]}'), 1),
        (Fault(body=b'{"ok": true, "result": [{}]}'), 1),
        (Fault(status=0), 1),
        (Fault(status=502), 1),
    ],
)
def test_a_failed_poll_waits_longer_each_time_and_goes_on(
    server: TelegramServer, fault: Fault, at_least: float
) -> None:
    bot = make_polling(server)
    server.queue("getUpdates", fault, fault)
    patient = Poller(bot, threading.Event())
    first, second = patient._guarded_round(), patient._guarded_round()
    assert first >= at_least
    assert second >= max(at_least, 2)
    assert IngressRefusal.objects.get().code == "telegram_polling_failed"
    server.arrive(text_update(1, "after all"))
    assert patient._guarded_round() == 0
    assert texts() == ["after all"]
    assert patient._failures == 0


def test_an_api_that_does_not_wait_is_not_asked_in_haste(server: TelegramServer) -> None:
    server.queue("getUpdates", Fault(body=b'{"ok": true, "result": []}'))
    assert once(make_polling(server)) >= 1


def test_another_bot_begins_where_it_is(server: TelegramServer) -> None:
    bot = make_polling(server)
    TelegramOffset.objects.create(connector=bot, bot_id="999", next_update_id=10**9, saved_at=clock.now())
    server.arrive(text_update(5, "hello"))
    once(bot)
    assert texts() == ["hello"]
    assert (TelegramOffset.objects.get().bot_id, next_id()) == ("4711", 6)


def test_an_old_number_is_not_trusted(server: TelegramServer) -> None:
    """After a quiet week Telegram's numbers begin anywhere, also below the last one."""
    bot = make_polling(server)
    TelegramOffset.objects.create(
        connector=bot, bot_id="4711", next_update_id=10**9, saved_at=clock.now() - timedelta(days=7)
    )
    server.arrive(text_update(5, "hello"))
    once(bot)
    assert texts() == ["hello"]
    assert next_id() == 6


@pytest.fixture
def hurried(settings: Any) -> None:
    from dataclasses import replace

    settings.KHEISH = replace(settings.KHEISH, sweep_seconds=0.05)


@pytest.fixture
def workers(hurried: None) -> Iterator[list[Polling]]:
    """Two worker processes' pollers, in threads of their own."""
    made = [Polling(), Polling()]
    yield made
    for one in made:
        one.stop()
        assert not one._thread.is_alive()


def pollers(workers: list[Polling]) -> int:
    return sum(poller.is_alive() for one in workers for poller in list(one._pollers.values()))


def test_one_process_polls_and_another_takes_over(server: TelegramServer, workers: list[Polling]) -> None:
    make_polling(server, polling_timeout_seconds=50)
    first, second = workers
    first.start("worker-1")
    server.arrive(text_update(1, "one"))
    server.wait_until(lambda: server.polling and not server.pending)
    second.start("worker-2")
    server.arrive(text_update(2, "two"))
    server.wait_until(lambda: server.polling and not server.pending)
    assert TickLease.objects.get(name="telegram:desk").owner == "worker-1"
    assert not second._pollers
    first.drain()
    first.stop()
    assert not first._thread.is_alive()
    server.arrive(text_update(3, "three"))
    server.wait_until(lambda: server.polling and not server.pending)
    assert texts() == ["one", "two", "three"]
    assert IngressReceipt.objects.filter(duplicates__gt=0).count() == 0
    assert TickLease.objects.get(name="telegram:desk").owner == "worker-2"


def test_changes_are_live(server: TelegramServer, workers: list[Polling]) -> None:
    make_polling(server, polling_timeout_seconds=50)
    workers[0].start("worker-1")
    server.wait_until(lambda: server.polling == 1)
    connectors.set_paused("telegram", "desk", True, principal="alice")
    _until(lambda: pollers(workers) == 0)
    server.arrive(text_update(1, "while paused"))
    connectors.set_paused("telegram", "desk", False, principal="alice")
    server.wait_until(lambda: server.polling and not server.pending)
    assert texts() == ["while paused"]
    make_polling(server, "other", polling_timeout_seconds=50)
    _until(lambda: pollers(workers) == 2)
    connectors.delete("telegram", "other")
    connectors.put("telegram", "desk", {"ingress_mode": "webhook"}, {}, principal="alice")
    _until(lambda: pollers(workers) == 0)


def test_without_connectors_there_is_nothing_to_do(workers: list[Polling]) -> None:
    workers[0].start("worker-1")
    assert django_settings.KHEISH.sweep_seconds == 0.05
    workers[0].stop()
    assert not TickLease.objects.filter(name__startswith="telegram:").exists()


def _until(happened: Any) -> None:
    from tests.support.service_process import until

    until(happened, 20, lambda: "it did not happen")
