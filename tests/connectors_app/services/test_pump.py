"""The pump against a real target: what arrives, how often, in which order, and what is left as unknown."""

import base64
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import DataError, OperationalError

from connectors_app.models import Delivery, DeliveryTarget
from connectors_app.services.deliveries import claims
from connectors_app.services.deliveries.pump import Pump
from kheish_site.lib.ids import new_id
from sessions_app.models import ActionChain, JournalEntry, Session
from sessions_app.services import journal
from tests.connectors_app.conftest import say
from tests.factories import make_session
from tests.support.http_target import Arrival, HttpTarget
from tests.support.service_process import until

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Pump]
SETTLED = ("delivered", "dead_lettered", "unknown")


@pytest.fixture
def session() -> Session:
    return make_session("desk")


def settled(count: int = 1) -> list[str]:
    """Wait until so many deliveries have left their queues and the target is free; their states."""
    rows = Delivery.objects.filter(status__in=SETTLED)
    until(lambda: rows.count() == count, 20, lambda: list(Delivery.objects.values("status", "last_error")))
    until(lambda: not DeliveryTarget.objects.exclude(lease_owner="").exists(), 10, lambda: "a lease was kept")
    return list(Delivery.objects.order_by("id").values_list("status", flat=True))


def backlog(like: Delivery, count: int) -> None:
    """Put many more into the queue of one delivery, at once."""
    fields = {"target_id": like.target_id, "session_id": like.session_id, "created_at": like.created_at}
    Delivery.objects.bulk_create(
        Delivery(delivery_id=new_id("dlv"), key=f"backlog:{number}", content=f"{number}", **fields)
        for number in range(count)
    )


def opened() -> bool:
    return DeliveryTarget.objects.filter(circuit_open_until__isnull=False).exists()


def kinds(session: Session) -> list[str]:
    rows = JournalEntry.objects.filter(session=session, kind__startswith="delivery.")
    return [kind.removeprefix("delivery.") for kind in rows.order_by("seq").values_list("kind", flat=True)]


def test_words_arrive_in_order_and_are_told(session: Session, target: HttpTarget, pump: Start) -> None:
    pump()
    words = [f"word {number}" for number in range(20)]
    made = say(session, target.handle, *words)
    assert settled(20) == ["delivered"] * 20
    assert target.says() == words
    first = target.arrivals[0]
    assert first.key == f"kheish:{made[0].delivery_id}"
    assert first.body["metadata"] == {"delivery_id": made[0].delivery_id, "delivery_attempt": 1}
    assert first.body["session_id"] == "desk"
    assert sorted(set(kinds(session))) == ["queued", "sent"] and len(kinds(session)) == 40
    assert journal.verify(Session.objects.get()).whole
    row = DeliveryTarget.objects.get()
    assert (row.next_at, row.failures, row.lease_owner) == (None, 0, "")
    assert row.name.startswith("http:address_sha256:") and "127.0.0.1" not in row.name + row.sealed


def test_a_commit_of_this_process_is_not_waited_for(
    session: Session, target: HttpTarget, pump: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors_app.services.deliveries.pump.LOOK_SECONDS", 600)
    pump()
    for number in range(1, 4):
        say(session, target.handle, f"word {number}")
        assert settled(number) == ["delivered"] * number


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(
    session: Session, target: HttpTarget, pump: Start, hurried: None, status: int
) -> None:
    target.behave = lambda arrival, before: target.take(arrival) if before == 2 else arrival.answer(status)
    pump()
    say(session, target.handle, "one", "two")
    assert settled(2) == ["delivered", "delivered"]
    assert target.says() == ["one", "two"]
    assert kinds(session).count("failed") == 4
    assert Delivery.objects.first().attempts == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [301, 400, 404, 410])
def test_a_refusal_is_final_and_lets_the_next_pass(
    session: Session, target: HttpTarget, pump: Start, status: int
) -> None:
    def refuse_the_first(arrival: Arrival, before: int) -> None:
        if arrival.body["content"] == "one":
            arrival.answer(status, Location="http://127.0.0.1:1/")
        else:
            target.take(arrival)

    target.behave = refuse_the_first
    pump()
    say(session, target.handle, "one", "two")
    assert settled(2) == ["dead_lettered", "delivered"]
    dead = Delivery.objects.get(content="one")
    assert dead.terminal_error["error_class"] == "terminal" and str(status) in dead.terminal_error["message"]
    assert DeliveryTarget.objects.get().failures == 0


def test_attempts_end(session: Session, target: HttpTarget, pump: Start, hurried: None, pace: Any) -> None:
    pace(max_attempts=4)
    target.behave = lambda arrival, before: arrival.answer(503)
    pump()
    say(session, target.handle, "one")
    assert settled() == ["dead_lettered"]
    assert len(target.arrivals) == 4
    assert len({arrival.key for arrival in target.arrivals}) == 1
    assert kinds(session) == ["queued", "failed", "failed", "failed", "dead_lettered"]


def silent(target: HttpTarget) -> Callable[[Arrival, int], None]:
    """Take the first message and say nothing, as a target that is slow; answer every repeat."""

    def behave(arrival: Arrival, before: int) -> None:
        target.take(arrival, answer=bool(before) or arrival.body["content"] != "one")
        if not before and arrival.body["content"] == "one":
            arrival.gone.wait(5)

    return behave


def broken(target: HttpTarget) -> Callable[[Arrival, int], None]:
    """Take the first message and die."""

    def behave(arrival: Arrival, before: int) -> None:
        target.take(arrival, answer=bool(before) or arrival.body["content"] != "one")
        if not before and arrival.body["content"] == "one":
            arrival.reset()

    return behave


def late(target: HttpTarget, *, status: int = 504) -> Callable[[Arrival, int], None]:
    """Stand before a target that takes the first message too late, or dies over its answer."""

    def behave(arrival: Arrival, before: int) -> None:
        odd = not before and arrival.body["content"] == "one"
        target.take(arrival, answer=not odd)
        if odd:
            arrival.answer(status)

    return behave


bad_gateway = partial(late, status=502)


def nonsense(target: HttpTarget) -> Callable[[Arrival, int], None]:
    """Answer the first with what is no HTTP."""

    def behave(arrival: Arrival, before: int) -> None:
        odd = not before and arrival.body["content"] == "one"
        target.take(arrival, answer=not odd)
        if odd:
            arrival._handler.wfile.write(b"good day\r\n\r\n")
            arrival._handler.close_connection = True

    return behave


AMBIGUITIES = [silent, broken, late, bad_gateway, nonsense]


@pytest.mark.parametrize("ambiguous", AMBIGUITIES)
def test_an_ambiguity_is_unknown_where_no_key_is_honoured(
    session: Session, target: HttpTarget, pump: Start, pace: Any, ambiguous: Any
) -> None:
    pace(timeout_seconds=0.3)
    target.behave = ambiguous(target)
    pump()
    say(session, target.handle, "one", "two")
    assert settled(2) == ["unknown", "delivered"]
    assert [arrival.body["content"] for arrival in target.arrivals] == ["one", "two"]
    assert "unknown" in kinds(session)


@pytest.mark.parametrize("ambiguous", AMBIGUITIES)
def test_an_ambiguity_is_repeated_where_keys_are_honoured(
    session: Session, target: HttpTarget, pump: Start, hurried: None, pace: Any, ambiguous: Any
) -> None:
    pace(timeout_seconds=0.3)
    target.behave = ambiguous(target)
    pump()
    say(session, target.keyed, "one", "two")
    assert settled(2) == ["delivered", "delivered"]
    assert target.says() == ["one", "two"]  # each once, in order, though the first came twice
    assert len(target.arrivals) == 3


def test_nonsense_in_a_good_answer_is_no_failure(session: Session, target: HttpTarget, pump: Start) -> None:
    target.behave = lambda arrival, before: arrival.answer(204 + 1, b"\xff\x00 not json")
    pump()
    say(session, target.handle, "one")
    assert settled() == ["delivered"]
    assert Delivery.objects.get().detail == {"status": 205}


def test_a_target_that_is_away_for_a_while_gets_everything_once_in_order(
    session: Session, target: HttpTarget, pump: Start, hurried: None, pace: Any
) -> None:
    pace(max_attempts=1000)
    target.down()
    pump()
    words = [f"word {number}" for number in range(10)]
    say(session, target.handle, *words)
    until(lambda: Delivery.objects.filter(attempts__gt=2).exists(), 20, lambda: "it was not tried again")
    assert Delivery.objects.filter(attempts__gt=0).count() == 1  # the head blocks its line
    target.up()
    assert settled(10) == ["delivered"] * 10
    assert target.says() == words


def test_two_pumps_send_each_word_once_in_order(session: Session, pump: Start, target: HttpTarget) -> None:
    with HttpTarget() as other:
        words = [f"word {number}" for number in range(40)]
        pump("worker-1"), pump("worker-2")
        for word in words:
            say(session, target.handle, word)
            say(session, other.handle, word)
        settled(80)
        for one in (target, other):
            assert [arrival.body["content"] for arrival in one.arrivals] == words


def test_a_backlog_of_a_slow_target_does_not_delay_another(
    session: Session, target: HttpTarget, pump: Start
) -> None:
    busy: list[int] = []
    most: list[int] = [0]

    def slow(arrival: Arrival, before: int) -> None:
        busy.append(1)
        most[0] = max(most[0], len(busy))
        arrival.gone.wait(0.2)
        target.take(arrival)
        busy.pop()

    target.behave = slow
    with HttpTarget() as other:
        (first,) = say(session, target.handle, "first")
        backlog(first, 999)
        pump("worker-1"), pump("worker-2")
        target.wait_for(2)
        began = time.monotonic()
        say(session, other.handle, "quick")
        other.wait_for(1)
        assert time.monotonic() - began < 2
        assert len(target.accepted) < 30
        assert most == [1]  # never two at a time


def test_more_slow_targets_than_threads_all_move(session: Session, pump: Start, pace: Any) -> None:
    pace(threads=2)
    with ExitStack() as stack:
        targets = [stack.enter_context(HttpTarget()) for _ in range(5)]
        pump()
        for one in targets:
            say(session, one.handle, *[f"{number}" for number in range(3)])
        assert settled(15) == ["delivered"] * 15
        assert all(one.says() == ["0", "1", "2"] for one in targets)


def test_the_circuit_opens_and_probes(session: Session, target: HttpTarget, pump: Start, pace: Any) -> None:
    pace(initial_retry_ms=5, max_retry_ms=5, circuit_failure_threshold=3, circuit_cooldown_ms=60_000)
    target.behave = lambda arrival, before: arrival.answer(503)
    pump()
    say(session, target.handle, "one", "two")
    until(opened, 20, lambda: "it stays closed")
    row = DeliveryTarget.objects.get()
    assert row.next_at == row.circuit_open_until and row.failures == 3
    assert len(target.arrivals) == 3
    target.behave = lambda arrival, before: target.take(arrival)
    DeliveryTarget.objects.update(circuit_open_until=row.created_at, next_at=row.created_at)
    assert settled(2) == ["delivered", "delivered"]
    row.refresh_from_db()
    assert (row.failures, row.circuit_open_until) == (0, None)


def test_targets_that_time_out_do_not_turn_a_queue_into_questions(
    session: Session, target: HttpTarget, pump: Start, pace: Any
) -> None:
    pace(timeout_seconds=0.1, circuit_failure_threshold=2)
    target.behave = lambda arrival, before: (arrival.gone.wait(5), None)[1]
    pump()
    say(session, target.handle, "one", "two", "three", "four")
    until(opened, 20, lambda: "it stays closed")
    assert list(Delivery.objects.order_by("id").values_list("status", flat=True)) == [
        "unknown", "unknown", "pending", "pending",
    ]  # fmt: skip


def test_a_sender_that_breaks_is_ambiguous(
    session: Session, target: HttpTarget, pump: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: Any, parcel: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("connectors_app.kinds.http.sender.HttpSender.send", breaks)
    pump()
    say(session, target.handle, "one")
    assert settled() == ["unknown"]
    assert Delivery.objects.get().last_error["error_class"] == "internal"


def test_a_draining_pump_begins_nothing(session: Session, target: HttpTarget, pump: Start) -> None:
    started = threading.Event()

    def slow(arrival: Arrival, before: int) -> None:
        started.set()
        arrival.gone.wait(0.3)
        target.take(arrival)

    target.behave = slow
    first = pump()
    say(session, target.handle, "one", "two")
    assert started.wait(10)
    first.drain()
    first.stop()
    assert list(Delivery.objects.order_by("id").values_list("status", flat=True)) == ["delivered", "pending"]
    row = DeliveryTarget.objects.get()
    assert row.lease_owner == "" and row.next_at is not None
    assert target.says() == ["one"]


def test_records_that_cannot_go_on_hold_up_no_other_session(
    session: Session, target: HttpTarget, pump: Start
) -> None:
    tampered, third = make_session("tampered"), make_session("third")
    say(tampered, target.handle, "before")
    pump()
    settled()
    ActionChain.objects.filter(bucket="tampered").update(count=0, head="0" * 64)
    release = threading.Event()

    def slow(arrival: Arrival, before: int) -> None:
        release.wait(10)
        target.take(arrival)

    target.behave = slow
    say(session, target.handle, "one")
    until(lambda: len(target.arrivals) == 2, 10, lambda: "nothing was sent")
    say(tampered, target.handle, "two")  # heads the queue when the outcome of "one" is to be committed
    say(third, target.handle, "three")
    release.set()
    assert settled(4) == ["delivered", "delivered", "dead_lettered", "delivered"]
    assert target.says() == ["before", "one", "three"]
    assert kinds(tampered) == ["queued", "sent", "queued", "dead_lettered"]
    dead = Delivery.objects.get(content="two")
    assert "audit_chain_broken" in dead.terminal_error["message"] and dead.attempts == 0


def test_an_outcome_that_cannot_be_recorded_yet_is_not_forgotten(
    session: Session, target: HttpTarget, pump: Start, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    right = settings.KHEISH

    def behave(arrival: Arrival, before: int) -> None:
        other = base64.b64encode(os.urandom(32)).decode()
        settings.KHEISH = replace(right, audit_signing_key=other)  # until the right one is restored
        target.take(arrival)

    target.behave = behave
    pump()
    say(session, target.handle, "one")
    target.wait_for(1)
    until(lambda: "an outcome waits" in caplog.text, 10, lambda: caplog.text)
    settings.KHEISH = right
    assert settled() == ["delivered"]
    assert len(target.arrivals) == 1 and kinds(session) == ["queued", "sent"]


@pytest.mark.parametrize("behind", [["two", "three"], []], ids=["more", "last"])
def test_a_commit_whose_answer_was_lost_leaves_no_question(
    session: Session, target: HttpTarget, pump: Start, monkeypatch: pytest.MonkeyPatch, behind: list[str]
) -> None:
    settle, lost = claims.settle, []

    def deaf(*args: Any, **kwargs: Any) -> claims.Work | None:
        made = settle(*args, **kwargs)
        if not lost:
            lost.append(made)
            raise OperationalError("the connection was closed after COMMIT was sent")
        return made

    monkeypatch.setattr(claims, "settle", deaf)
    words = ["one", *behind]
    say(session, target.handle, *words)
    pump()
    assert settled(len(words)) == ["delivered"] * len(words)
    assert [arrival.body["content"] for arrival in target.arrivals] == words
    assert lost


def test_an_outcome_that_no_row_can_hold_is_not_tried_for_ever(
    session: Session, target: HttpTarget, pump: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its target would be held up for as long: whoever sent it is forgotten, as if he had died."""
    tried = []

    def settle(*args: Any, **kwargs: Any) -> claims.Work | None:
        tried.append(args)
        raise DataError("a text that cannot be stored")

    monkeypatch.setattr(claims, "settle", settle)
    say(session, target.handle, "one")
    pump()
    until(lambda: bool(tried), 10, lambda: "nothing was settled")
    until(lambda: DeliveryTarget.objects.get().lease_owner != "", 10, lambda: "no lease")
    time.sleep(2.5)
    assert len(tried) == 1
