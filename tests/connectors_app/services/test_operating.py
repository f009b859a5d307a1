"""What people do about deliveries: once, whoever is faster, and with a trace."""

import re
from copy import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as live
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from connectors_app.models import Delivery, DeliveryTarget
from connectors_app.services.contracts import Ambiguous, Refused, RetryLater, Sent
from connectors_app.services.deliveries import (
    claims,
    control,
    find,
    health,
    operate,
    retention,
    shown,
    states,
    targets,
)
from kheish_site.lib import clock, crypto
from kheish_site.lib.errors import BadRequest
from kheish_site.lib.redaction import MASK, register_secret
from kheish_site.lib.transactions import write
from kheish_site.settings.keys import new_master_key
from sessions_app.models import JournalEntry, Session
from sessions_app.services import assets, journal, sessions, status
from sessions_app.services import retention as core_retention
from sessions_app.services.master_key import rotate
from sessions_app.services.principal import SYSTEM
from tests.connectors_app.conftest import say
from tests.factories import make_asset, make_session
from tests.support.engine import race

pytestmark = pytest.mark.django_db(transaction=True)
HOOK = {"plugin": "http", "address": {"url": "http://example.com/hook"}}
PARTIAL = "delivery_(queue|trouble)|target_(due|leased|paused|circuit)"


@pytest.fixture
def session() -> Session:
    return make_session("desk")


def end(session: Session, word: str, outcome: Any, handle: Any = HOOK) -> Delivery:
    """Queue a word and settle it."""
    (row,) = say(session, handle, word)
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    claims.settle(work, outcome, go_on=False)
    return find.get(row.delivery_id)


@pytest.fixture
def dead(session: Session) -> Delivery:
    return end(session, "dead", Refused("terminal", "gone"))


@pytest.fixture
def doubtful(session: Session) -> Delivery:
    return end(session, "doubtful", Ambiguous("timeout", "silence"))


def decided(session: Session) -> list[str]:
    rows = JournalEntry.objects.filter(session=session, kind="delivery.decided").order_by("seq")
    return [payload["decision"] for payload in rows.values_list("payload", flat=True)]


def test_a_replay_is_new_and_points_back_once(session: Session, dead: Delivery) -> None:
    first, is_new = operate.replay(dead.delivery_id, principal=SYSTEM)
    again, is_newer = operate.replay(dead.delivery_id, principal=SYSTEM)
    forced, is_newest = operate.replay(dead.delivery_id, force=True, principal=SYSTEM)
    assert (is_new, is_newer, is_newest) == (True, False, True)
    assert first.delivery_id == again.delivery_id != forced.delivery_id
    assert first.replayed_from == dead and first.content == "dead"
    dead.refresh_from_db()
    assert (dead.status, dead.resolved_at) == ("dead_lettered", None)
    assert decided(session) == ["replayed", "replayed"]


def test_racing_replays_make_one(session: Session, dead: Delivery) -> None:
    found = race(5, lambda _: operate.replay(dead.delivery_id, principal=SYSTEM)[0].delivery_id)
    assert len(set(found)) == 1, found
    assert Delivery.objects.count() == 2


def test_only_dead_letters_are_replayed_and_resolved(session: Session, doubtful: Delivery) -> None:
    for verb in (operate.replay, operate.resolve):
        with pytest.raises(states.IllegalDelivery):
            verb(doubtful.delivery_id, principal=SYSTEM)
    with pytest.raises(find.DeliveryMissing):
        operate.resolve("dlv_none", principal=SYSTEM)


def test_resolving_is_said_once_and_clears_health(session: Session, dead: Delivery) -> None:
    codes = [warning["code"] for warning in status.status()["health"]["warnings"]]
    assert "deliveries_unresolved_dead_lettered" in codes
    operate.resolve(dead.delivery_id, reason="told by phone", principal=SYSTEM)
    again = operate.resolve(dead.delivery_id, reason="another", principal=SYSTEM)
    assert again.resolution_reason == "told by phone"
    assert decided(session) == ["resolved"]
    part = health.status_part()
    assert part.view["dead_lettered"] == 1 and part.view["unresolved_dead_lettered"] == 0
    assert part.warnings == []
    assert status.status()["deliveries"]["dead_lettered"] == 1


@pytest.mark.parametrize(
    ("outcome", "left", "rows"),
    [("happened", "delivered", 1), ("not_happened", "dead_lettered", 2), ("give_up", "dead_lettered", 1)],
)
def test_a_doubt_is_settled_by_a_person(
    session: Session, doubtful: Delivery, outcome: str, left: str, rows: int
) -> None:
    assert health.status_part().view["unknown"] == 1
    for _ in range(2):
        found = operate.decide(doubtful.delivery_id, outcome, reason="seen", principal=SYSTEM)
    assert (found.status, found.decision, found.resolved_by) == (left, outcome, "system")
    assert Delivery.objects.count() == rows
    assert decided(session) == [outcome]
    with pytest.raises(operate.DecisionConflict) as refused:
        other = "happened" if outcome != "happened" else "give_up"
        operate.decide(doubtful.delivery_id, other, principal=SYSTEM)
    assert refused.value.extra["decision"] == outcome
    assert health.status_part().warnings == []
    assert journal.verify(Session.objects.get(pk=session.pk)).whole


def test_confirmed_parts_are_not_sent_again_after_a_decision(session: Session) -> None:
    (row,) = say(session, HOOK, "three parts")
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    claims.keep(work, {"sent": ["1.1"], "begun": {"step": "1"}})
    claims.settle(work, Ambiguous("timeout", "no answer to the second"), go_on=False)
    operate.decide(row.delivery_id, "not_happened", principal=SYSTEM)
    assert Delivery.objects.exclude(pk=row.pk).get().progress == {"sent": ["1.1"]}


def test_racing_deciders_settle_it_once(session: Session, doubtful: Delivery) -> None:
    outcomes = ["happened", "not_happened", "give_up"] * 2
    found = race(
        6, lambda number: operate.decide(doubtful.delivery_id, outcomes[number], principal=SYSTEM).decision
    )
    won = [one for one in found if isinstance(one, str)]
    assert len(set(won)) == 1 and len(won) == 2, found
    assert all(isinstance(one, str | operate.DecisionConflict) for one in found), found
    assert len(decided(session)) == 1


def test_a_decision_is_one_of_three_and_for_doubts(dead: Delivery) -> None:
    with pytest.raises(BadRequest):
        operate.decide(dead.delivery_id, "perhaps", principal=SYSTEM)
    with pytest.raises(states.IllegalDelivery):
        operate.decide(dead.delivery_id, "happened", principal=SYSTEM)


def test_bulk_replay_says_first_and_does_then(session: Session) -> None:
    rows = [end(session, f"dead {number}", Refused("terminal", "gone")) for number in range(4)]
    operate.resolve(rows[0].delivery_id, principal=SYSTEM)
    operate.replay(rows[1].delivery_id, principal=SYSTEM)

    def bulk(**more: Any) -> list[str]:
        given = {"limit": 100, "force": False, "dry_run": False, **more}
        found = Delivery.objects.filter(find.TROUBLE)
        return [one.action for one in operate.replay_bulk(found, principal=SYSTEM, **given)]

    assert bulk(dry_run=True) == ["existing_replay", "would_replay", "would_replay"]
    assert Delivery.objects.count() == 5
    assert bulk(limit=2) == ["existing_replay", "replayed"]
    assert bulk() == ["existing_replay", "existing_replay", "replayed"]
    assert Delivery.objects.count() == 7


def test_bulk_replay_goes_on_where_it_was_broken_off(session: Session, monkeypatch: Any) -> None:
    rows = [end(session, f"dead {number}", Refused("terminal", "gone")) for number in range(3)]
    again, broken = operate.queue.again, [rows[1].delivery_id]

    def breaks(source: Delivery, *args: Any, **more: Any) -> Delivery:
        if source.delivery_id in broken:
            raise OperationalError("away")
        return again(source, *args, **more)

    monkeypatch.setattr(operate.queue, "again", breaks)
    given: dict[str, Any] = {"limit": 100, "force": True, "dry_run": False, "principal": SYSTEM}
    with pytest.raises(OperationalError):
        operate.replay_bulk(Delivery.objects.filter(find.TROUBLE), once="key", **given)
    assert [row.replayed_from for row in Delivery.objects.filter(replayed_from__isnull=False)] == [rows[0]]
    broken.clear()
    done = operate.replay_bulk(Delivery.objects.filter(find.TROUBLE), once="key", **given)
    assert [one.action for one in done] == ["existing_replay", "replayed", "replayed"]
    assert len(operate.replay_bulk(Delivery.objects.filter(find.TROUBLE), once="other", **given)) == 3
    assert Delivery.objects.count() == 9


def test_a_paused_target_is_left_alone(session: Session) -> None:
    (row,) = say(session, HOOK, "one")
    target = DeliveryTarget.objects.get()
    control.pause(target.digest, principal=SYSTEM)
    control.pause(target.name, principal=SYSTEM)
    assert targets.due(10) == [] and claims.take(row.target_id, "worker-1") is None
    control.resume(target.digest[:20], principal=SYSTEM)
    assert targets.due(10) == [target.pk]
    with pytest.raises(targets.TargetMissing):
        control.pause("http:address_sha256:00", principal=SYSTEM)


def test_a_pause_holds_for_what_is_behind_the_one_being_sent(session: Session) -> None:
    (row, _) = say(session, HOOK, "one", "two")
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    control.pause(row.target.digest, principal=SYSTEM)
    assert claims.settle(work, Sent(), go_on=True) is None
    assert DeliveryTarget.objects.get().lease_owner == ""


def test_failures_are_forgotten(session: Session, settings: Any) -> None:
    (row,) = say(session, HOOK, "one")
    DeliveryTarget.objects.update(failures=2)
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    claims.settle(work, RetryLater("status", "503"), go_on=True)
    target = DeliveryTarget.objects.get()
    assert target.circuit_open_until == target.next_at is not None
    with pytest.raises(BadRequest):
        control.reset_backpressure(principal=SYSTEM)
    assert control.reset_backpressure(plugin="http", dry_run=True, principal=SYSTEM) == [target]
    assert DeliveryTarget.objects.get().circuit_open_until is not None
    assert control.reset_backpressure(digest=target.digest, plugin="slack", principal=SYSTEM) == []
    control.reset_backpressure(digest=target.digest, principal=SYSTEM)
    target.refresh_from_db()
    assert (target.failures, target.circuit_open_until) == (0, None)
    assert target.next_at == Delivery.objects.get().next_attempt_at
    assert control.reset_backpressure(plugin="http", principal=SYSTEM) == []


def test_the_gauges_count_what_lives_and_leave_out_paused_targets(
    session: Session, dead: Delivery, doubtful: Delivery
) -> None:
    say(session, HOOK, "waits")
    text = health.metrics()
    assert 'kheish_delivery_deliveries{status="dead_lettered"} 1\n' in text
    assert 'kheish_delivery_deliveries{status="unknown"} 1\n' in text
    assert "kheish_delivery_ready 1\n" in text and "kheish_delivery_dispatchable 1\n" in text
    lag = int(text.rpartition("kheish_delivery_worker_lag_ms ")[2])
    assert 0 <= lag < 60_000
    DeliveryTarget.objects.update(next_at=clock.now() - timedelta(hours=1))
    for target in DeliveryTarget.objects.all():
        control.pause(target.digest, principal=SYSTEM)
    text = health.metrics()
    assert "kheish_delivery_dispatchable 0\n" in text and "kheish_delivery_worker_lag_ms 0\n" in text


def test_gauges_do_not_read_what_is_settled(session: Session, dead: Delivery) -> None:
    end(session, "sent", Sent())
    say(session, HOOK, "waits", "waits too")
    with CaptureQueriesContext(connection) as first:
        text = health.metrics()
    assert 'kheish_delivery_deliveries{status="delivered"} 1\n' in text
    assert "kheish_delivery_targets_total 1\n" in text and "kheish_delivery_targets_waiting 1\n" in text
    end(session, "sent later", Sent(), {"plugin": "http", "address": {"url": "http://example.com/2"}})
    with CaptureQueriesContext(connection) as again:
        text = health.metrics()
    assert len(again) == len(first) - 2, "totals are remembered"
    assert 'kheish_delivery_deliveries{status="delivered"} 1\n' in text
    assert 'kheish_delivery_deliveries{status="pending"} 2\n' in text
    settle_many(Delivery.objects.filter(status="delivered")[0], 1_000)
    explain = "EXPLAIN QUERY PLAN"
    with write(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # to which any index is as good where there is little
            explain = "EXPLAIN"
            cursor.execute("ANALYZE connectors_app_delivery, connectors_app_deliverytarget")
        for query in again:
            if query["sql"].startswith("SELECT"):
                cursor.execute(f"{explain} {query['sql']}")
                plan = " ".join(str(row) for row in cursor.fetchall())
                assert re.search(PARTIAL, plan), (query["sql"], plan)


def settle_many(like: Delivery, count: int) -> None:
    """Add settled deliveries, and as many targets at rest."""
    ids = [f"{number:064}" for number in range(count)]
    at_rest = DeliveryTarget.objects.get(pk=like.target_id)
    at_rest.next_at, at_rest.lease_owner, at_rest.lease_expires_at = None, "", None
    DeliveryTarget.objects.bulk_create([copied(at_rest, digest=name) for name in ids])
    Delivery.objects.bulk_create([copied(like, delivery_id=f"dlv_{name[-9:]}", key=name) for name in ids])


def copied(row: Any, **fields: Any) -> Any:
    """Return a row like this one that is not in the database yet."""
    twin = copy(row)
    for name, value in {"pk": None, **fields}.items():
        setattr(twin, name, value)
    return twin


def test_settled_deliveries_go_and_what_waits_for_people_stays(session: Session) -> None:
    sent = end(session, "sent", Sent(), {"plugin": "http", "address": {"url": "http://example.com/other"}})
    dead, doubtful = (
        end(session, "dead", Refused("terminal", "x")),
        end(session, "doubt", Ambiguous("x", "x")),
    )
    done = end(session, "done", Refused("terminal", "x"))
    operate.resolve(done.delivery_id, principal=SYSTEM)
    assert core_retention.purge()["deliveries"] == 0
    long_ago = clock.now() - timedelta(days=live.KHEISH.deliveries.keep_days + 1)
    Delivery.objects.update(settled_at=long_ago)
    DeliveryTarget.objects.update(created_at=long_ago)
    assert core_retention.purge()["deliveries"] == 3  # two deliveries and a target nobody needs
    assert set(Delivery.objects.all()) == {dead, doubtful}
    assert not Delivery.objects.filter(pk=sent.pk).exists()
    assert DeliveryTarget.objects.count() == 1
    assert retention.purge() == 0


def test_a_secret_that_was_stored_since_is_masked_in_what_a_delivery_says(session: Session) -> None:
    word = "canary-stored-since-41"
    (row,) = say(session, HOOK, word, parts=[{"type": "text", "text": word}], metadata={"note": word})
    assert word in row.content
    register_secret("since", word)
    shown_now = shown.delivery_detail(find.get(row.delivery_id), content=True)
    assert word not in str(shown_now)
    assert (shown_now["content"], shown_now["metadata"]) == (MASK, {"note": MASK})


def test_a_session_goes_when_nothing_of_it_waits(session: Session, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, keep_ended_sessions_days=1)
    asset = make_asset()
    say(session, HOOK, "one", attachments=[asset.asset_id])
    sessions.end("desk", principal="alice")
    Session.objects.update(ended_at=clock.now() - timedelta(days=2))

    def purged() -> int:
        return core_retention.purge()["sessions"]

    for state in ("pending", "sending", "retrying", "dead_lettered", "unknown"):
        Delivery.objects.update(status=state)
        assert purged() == 0, state
        assert not core_retention._delete_session(session.pk), state
    with pytest.raises(assets.DeleteBlocked):
        assets.delete(asset.asset_id, principal="alice")
    Delivery.objects.update(status="dead_lettered", resolved_at=clock.now())
    assert purged() == 1
    assert not (Delivery.objects.exists() or Session.objects.exists())
    assets.delete(asset.asset_id, principal="alice")


def test_addresses_follow_the_master_key(session: Session, settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_text(new_master_key() + "\n")
    settings.KHEISH = replace(settings.KHEISH, master_key_file=file, master_keys_in_environment=False)
    say(session, HOOK, "one")
    before = DeliveryTarget.objects.get()
    rotate(drop_old=True)
    after = DeliveryTarget.objects.get()
    assert after.sealed != before.sealed
    assert targets.address_of(after) == HOOK["address"]
    with pytest.raises(crypto.Unreadable):
        crypto.unseal(before.sealed)
