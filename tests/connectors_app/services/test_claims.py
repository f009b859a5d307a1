"""Deaths at the three places of an attempt, zombies, and what the next pump makes of it."""

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Semaphore
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connectors_app.models import Delivery, DeliveryStatus, DeliveryTarget
from connectors_app.services.contracts import Ambiguous, Refused, RetryLater, Sent
from connectors_app.services.deliveries import claims, policy, queue, send, states, targets
from connectors_app.services.deliveries.pump import Pump, _Flight
from kheish_site.lib import clock
from kheish_site.lib.errors import Conflict
from kheish_site.lib.transactions import TransactionRequired, locked, write
from sessions_app.models import ActionChain, ExternalAction, JournalEntry, Session
from sessions_app.services import ports
from sessions_app.services.external_actions import ChainBroken
from tests.connectors_app.conftest import say
from tests.factories import make_run, make_session
from tests.sessions_app.streams.helpers import in_threads
from tests.support.engine import race, waiting_backends

pytestmark = pytest.mark.django_db(transaction=True)
PLAIN = {"plugin": "http", "address": {"url": "http://example.com/hook"}}
KEYED = {"plugin": "http", "address": {"url": "http://example.com/hook", "idempotent": True}}


@pytest.fixture
def session() -> Session:
    return make_session("desk")


def begin(session: Session, handle: Any, *words: str) -> claims.Work:
    """Queue words and begin the first in a worker's hands."""
    (first, *_) = say(session, handle, *words)
    work = claims.take(first.target_id, "worker-1")
    assert work is not None
    return work


def die() -> None:
    """What the burial of a dead worker does."""
    ports.workers_buried(["worker-1"])


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("status", flat=True))


def test_the_edges_are_closed() -> None:
    assert set(states.EDGES) == set(DeliveryStatus)
    assert states.EDGES[DeliveryStatus.DELIVERED] == states.EDGES[DeliveryStatus.DEAD_LETTERED] == frozenset()


def test_an_edge_that_is_not_there_is_refused(session: Session) -> None:
    (row,) = say(session, PLAIN, "one")
    with write(), pytest.raises(states.IllegalDelivery):
        states.advance(row, DeliveryStatus.DELIVERED)
    with pytest.raises(TransactionRequired):
        states.advance(row, DeliveryStatus.SENDING)


def test_somebody_else_was_first(session: Session) -> None:
    (row,) = say(session, PLAIN, "one")
    Delivery.objects.update(status="sending")
    with write(), pytest.raises(Conflict):
        states.advance(row, DeliveryStatus.SENDING)


def test_sending_commits_before_anything_leaves(session: Session) -> None:
    work = begin(session, PLAIN, "one")
    row = Delivery.objects.get()
    assert (row.status, row.attempts) == ("sending", 1)
    assert (work.delivery.pk, work.epoch) == (row.pk, 1)


def test_what_has_left_its_queue_says_when(session: Session) -> None:
    work = begin(session, PLAIN, "one")
    claims.settle(work, RetryLater("internal", "later"), go_on=False)
    row = Delivery.objects.get()
    assert (row.status, row.settled_at) == ("retrying", None) and row.next_attempt_at is not None
    with write():
        states.advance(row, DeliveryStatus.SENDING)
        states.advance(row, DeliveryStatus.DELIVERED)
    row.refresh_from_db()
    assert row.settled_at is not None and row.next_attempt_at is None


def test_the_records_of_an_attempt_name_its_delivery(session: Session) -> None:
    work = begin(session, PLAIN, "one")
    claims.settle(work, Sent(), go_on=False)
    named = ExternalAction.objects.order_by("seq").values_list("phase", "delivery_id")
    assert list(named) == [(phase, work.delivery.delivery_id) for phase in ("started", "finished")]


@pytest.mark.parametrize(
    ("handle", "status", "attempts"), [(PLAIN, "unknown", 1), (KEYED, "sending", 2)], ids=["plain", "keyed"]
)
def test_a_sender_that_died_leaves_a_question_or_a_repeat(
    session: Session, handle: Any, status: str, attempts: int
) -> None:
    work = begin(session, handle, "one")
    assert targets.due(10) == []
    die()
    assert targets.due(10) == [work.target_pk]
    claims.take(work.target_pk, "worker-2")
    row = Delivery.objects.get()
    assert (row.status, row.attempts) == (status, attempts)
    records = ExternalAction.objects.order_by("seq").values_list("phase", "outcome")
    wanted = [("started", ""), ("finished", "unknown"), ("started", "")]
    assert list(records) == wanted[: attempts + 1]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Sent(reference="a\x00b", detail={"detail": "told\x00 \ud800"}), "delivered"),
        (Ambiguous("decode", "what is \x00 or \ud800?"), "unknown"),
        (Refused("terminal", "no\x00 \ud800"), "dead_lettered"),
    ],
)
def test_what_a_target_says_can_be_kept_whatever_it_is(
    session: Session, outcome: send.Outcome, status: str
) -> None:
    """PostgreSQL takes no NUL: the outcome was tried again for a quarter of an hour, and then forgotten."""
    claims.settle(begin(session, PLAIN, "one"), outcome, go_on=False)
    assert statuses() == [status]
    row = Delivery.objects.get()
    assert "\x00" not in f"{row.reference}{row.detail}{row.last_error}"


def test_those_behind_an_unknown_go_on(session: Session) -> None:
    work = begin(session, PLAIN, "one", "two")
    die()
    after = claims.take(work.target_pk, "worker-2")
    assert after is not None and after.delivery.content == "two"
    assert statuses() == ["unknown", "sending"]


def test_what_may_have_left_and_cannot_be_recorded_is_unknown(session: Session) -> None:
    work = begin(session, KEYED, "one", "two")
    ActionChain.objects.update(count=0, head="0" * 64)
    die()
    for status in ("unknown", "dead_lettered"):
        with pytest.raises(ChainBroken) as broken:
            claims.take(work.target_pk, "worker-2")
        claims.pass_over(work.target_pk, "worker-2", broken.value)
        assert status in statuses()
    assert statuses() == ["unknown", "dead_lettered"]
    assert ExternalAction.objects.count() == 1
    assert (targets.due(10), claims.take(work.target_pk, "worker-2")) == ([work.target_pk], None)


def test_a_delivery_that_kills_every_sender_ends(session: Session, pace: Callable[..., None]) -> None:
    pace(max_attempts=3, circuit_failure_threshold=0)
    work = begin(session, KEYED, "one")
    for number in (2, 3):
        die()
        assert claims.take(work.target_pk, "worker-1") is not None, number
    die()
    assert claims.take(work.target_pk, "worker-1") is None
    assert statuses() == ["dead_lettered"]


def test_a_zombie_settles_nothing(session: Session) -> None:
    work = begin(session, KEYED, "one")
    die()
    after = claims.take(work.target_pk, "worker-2")
    assert after is not None
    with pytest.raises(targets.TargetLost):
        claims.settle(work, Sent(), go_on=True)
    with pytest.raises(targets.TargetLost):
        claims.keep(work, {"part": 1})
    assert statuses() == ["sending"]
    assert not JournalEntry.objects.filter(kind="delivery.sent").exists()
    assert claims.settle(after, Sent(reference="r1"), go_on=True) is None
    assert (statuses(), Delivery.objects.get().reference) == (["delivered"], "r1")


def test_progress_is_kept_for_the_next_attempt(session: Session) -> None:
    work = begin(session, KEYED, "one")
    claims.keep(work, {"sent_parts": [1]})
    die()
    after = claims.take(work.target_pk, "worker-2")
    assert after is not None and after.delivery.progress == {"sent_parts": [1]}


def test_one_of_many_takes_a_target(session: Session) -> None:
    (row,) = say(session, PLAIN, "one")
    taken = race(6, lambda number: claims.take(row.target_id, f"worker-{number}"))
    assert sum(isinstance(work, claims.Work) for work in taken) == 1, taken
    assert Delivery.objects.get().attempts == 1


def test_a_live_lease_is_renewed_and_others_are_not_ours(session: Session) -> None:
    work = begin(session, PLAIN, "one")
    before = DeliveryTarget.objects.get().lease_expires_at
    assert targets.renew(work.target_pk, "worker-1", work.epoch)
    assert DeliveryTarget.objects.get().lease_expires_at >= before  # type: ignore[operator]
    assert not targets.renew(work.target_pk, "worker-1", work.epoch + 1)
    assert not targets.renew(work.target_pk, "worker-2", work.epoch)


@pytest.mark.services_only
def test_a_lease_that_had_to_wait_for_its_row_is_renewed_in_time(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins before the wait: counted from its end, it ran out before it was renewed."""
    (row,) = say(session, PLAIN, "one")
    pump, left = Pump(), list[float]()
    pump.owner, pump._flights = "worker-1", {row.target_id: _Flight()}

    def take_long(work: claims.Work) -> send.Outcome:
        for _ in range(20):
            pump._renew()
            time.sleep(0.1)
            left.append((DeliveryTarget.objects.get().lease_expires_at - clock.now()).total_seconds())
        return Sent()

    monkeypatch.setattr(targets, "life_seconds", lambda: 2.0)
    monkeypatch.setattr(pump, "_send", take_long)
    with write():
        locked(DeliveryTarget.objects.filter(pk=row.target_id)).get()
        (serving,) = in_threads(lambda: pump._serve(row.target_id))
        time.sleep(1.6)
    serving.join(20)
    assert len(left) == 20 and min(left) > 0.1, left
    assert statuses() == ["delivered"]


@pytest.mark.services_only
def test_a_target_whose_row_is_locked_does_not_let_the_leases_of_others_run_out(session: Session) -> None:
    """A client that froze with the row of one target had cost a worker all that it was sending."""
    works = [begin(session, PLAIN, "one"), begin(session, KEYED, "two")]
    pump = Pump()
    pump._flights = {work.target_pk: _Flight(work=work, renewed=float("-inf")) for work in works}
    DeliveryTarget.objects.update(lease_expires_at=clock.now() + timedelta(seconds=1))
    with write():
        locked(DeliveryTarget.objects.filter(pk=works[0].target_pk)).get()
        (renewal,) = in_threads(pump._renew)
        renewal.join(5)
        assert renewed() == [False, True]
    renewal.join()
    pump._renew()
    assert renewed() == [True, True]


def renewed() -> list[bool]:
    rows = DeliveryTarget.objects.order_by("pk").values_list("lease_expires_at", flat=True)
    return [row > clock.now() + timedelta(seconds=2) for row in rows]


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(None, 1.0, 1.25), (30.0, 30.0, 30.1), (100_000.0, 3600.0, 3600.1)]
)
def test_the_target_may_ask_for_more_time(
    session: Session, asked: float | None, least: float, most: float
) -> None:
    work = begin(session, PLAIN, "one")
    claims.settle(work, RetryLater("rate_limited", "slow", retry_after_seconds=asked), go_on=True)
    row, target = Delivery.objects.get(), DeliveryTarget.objects.get()
    assert row.next_attempt_at == target.next_at
    waits = (row.next_attempt_at - row.attempted_at).total_seconds()  # type: ignore[operator]
    assert least <= waits <= most + 3
    entry = JournalEntry.objects.get(kind="delivery.failed")
    assert least * 1000 <= entry.payload["retry_in_ms"] <= most * 1000
    assert entry.payload["error_class"] == "rate_limited"


def test_targets_have_a_pace(session: Session, pace: Callable[..., None]) -> None:
    pace(target_min_interval_ms=60_000)
    work = begin(session, PLAIN, "one", "two")
    assert claims.settle(work, Sent(), go_on=True) is None
    target = DeliveryTarget.objects.get()
    assert (target.next_at - target.last_attempt_at).total_seconds() == 60  # type: ignore[operator]


def test_a_circuit_opens_at_the_first_failure_or_never_as_it_is_set(pace: Callable[..., None]) -> None:
    pace(circuit_failure_threshold=1)
    assert policy.opens_circuit(1)
    pace(circuit_failure_threshold=0)
    assert not policy.opens_circuit(1_000)


def test_settling_and_beginning_the_next_is_one_commit(session: Session) -> None:
    work = begin(session, PLAIN, "one", "two")
    with CaptureQueriesContext(
        connection,
    ) as seen:
        following = claims.settle(work, Sent(), go_on=True)
    assert following is not None and following.delivery.content == "two"
    begins = [query["sql"] for query in seen if query["sql"].startswith(("BEGIN", "COMMIT"))]
    assert sum(sql.startswith("COMMIT") for sql in begins) <= 1
    assert len(seen) <= 24


def test_a_session_that_is_not_locked_is_left_for_the_next_look(session: Session) -> None:
    """Between the look and the lock the head changed to another session's delivery."""
    other = make_session("other")
    work = begin(session, PLAIN, "one")
    ((late,),) = (say(other, PLAIN, "two"),)
    behind = targets.queue(work.target_pk).exclude(pk=work.delivery.pk).first()
    assert behind == late
    Delivery.objects.filter(pk=late.pk).update(session=session)
    assert claims.settle(work, Sent(), go_on=True) is not None


def test_an_ambiguity_of_the_last_attempt(session: Session, pace: Callable[..., None]) -> None:
    pace(max_attempts=1)
    work = begin(session, KEYED, "one")
    claims.settle(work, Ambiguous("timeout", "silence"), go_on=True)
    assert statuses() == ["dead_lettered"]


def test_the_same_output_committed_again_adds_nothing(session: Session) -> None:
    run = make_run(session)
    handles = [PLAIN, KEYED, {"plugin": "daemon", "address": {"session_id": "desk"}}]
    for _ in range(2):
        with write():
            made = queue.enqueue(session, run, targets=handles, key="call_1:0", content="said")
    assert len(made) == Delivery.objects.count() == 2
    assert JournalEntry.objects.filter(kind="delivery.queued").count() == 2
    assert {row.target.plugin for row in made} == {"http"}


def test_enqueue_needs_a_transaction(session: Session) -> None:
    with pytest.raises(TransactionRequired):
        queue.enqueue(session, None, targets=[PLAIN], key="k", content="said")


def test_ids_are_in_the_order_of_commits_whoever_makes_the_targets(session: Session) -> None:
    sessions = [make_session(f"s{number}") for number in range(6)]
    handles = [{"plugin": "http", "address": {"url": f"http://example.com/{number}"}} for number in range(4)]

    def put(number: int) -> None:
        from kheish_site.lib.transactions import locked

        mine = sessions[number]
        for turn in range(5):
            with write():
                locked(Session.objects.filter(pk=mine.pk)).first()
                order = handles if number % 2 else handles[::-1]
                queue.enqueue(mine, None, targets=order, key=f"{number}:{turn}", content="said")

    assert race(6, put) == [None] * 6
    assert DeliveryTarget.objects.count() == 4
    assert Delivery.objects.count() == 6 * 5 * 4
    for target in DeliveryTarget.objects.all():
        per_session = {}
        for row in target.deliveries.order_by("id"):
            turn = int(row.key.partition(":")[2])
            assert turn == per_session.get(row.session_id, -1) + 1
            per_session[row.session_id] = turn


@pytest.mark.services_only
def test_the_threads_of_a_process_wait_for_a_session_one_at_a_time(session: Session) -> None:
    """Who waits in the database is among its open transactions, and streams of everything wait for those."""
    urls = [f"http://example.com/{number}" for number in range(6)]
    rows = [say(session, {"plugin": "http", "address": {"url": url}}, "one")[0] for url in urls]
    begun, taken = Semaphore(0), []

    def take(target_pk: int) -> Callable[[], None]:
        def work() -> None:
            begun.release()
            taken.append(claims.take(target_pk, "worker-1"))

        return work

    with write():
        locked(Session.objects.filter(pk=session.pk)).get()
        threads = in_threads(*(take(row.target_id) for row in rows))
        for _ in rows:
            begun.acquire()
        deadline = time.monotonic() + 10
        while not waiting_backends() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)  # the others would be there by now
        assert waiting_backends() == 1
    for thread in threads:
        thread.join()
    assert len([work for work in taken if work is not None]) == len(rows)
    assert set(statuses()) == {"sending"}
