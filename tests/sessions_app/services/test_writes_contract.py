"""The one door's contract: the same behaviour by one statement on PostgreSQL and by several on SQLite."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from sessions_app.models import JournalEntry, Run, RunStatus, Session, Step, ToolCall
from sessions_app.services import effects, journal, run_state, sessions, writes
from sessions_app.services.writes import (
    Change,
    Committed,
    IllegalEffect,
    LeaseBusy,
    LeaseLost,
    SessionChanged,
    SessionEnded,
    SessionMissing,
    StaleRun,
    StepEnd,
    StepStart,
)
from sessions_app.tools.base import ToolResult

pytestmark = pytest.mark.django_db(transaction=True)
LIFE = 30.0


@pytest.fixture
def session() -> Session:
    return Session.objects.create(session_id=new_id("s"), workspace="w")


def entry(session: Session, run: Run | None = None, **payload: Any) -> writes.Entry:
    return journal.entry(session.session_id, "message.created", payload, run=run)


def new_run(session: Session) -> Run:
    now = clock.now()
    return Run(
        run_id=new_id("run"),
        session=session,
        route_id="r",
        permission_mode="default",
        input_message={"role": "user", "content": "hé"},
        metadata={"n": 1},
        submitted_at=now,
        updated_at=now,
    )


def accept(session: Session) -> Run:
    run = new_run(session)
    writes.commit(Change(session_pk=session.pk, entries=(entry(session, run),), accept=run))
    return run


def claim(run: Run, owner: str = "w1", seconds: float = LIFE, **more: Any) -> Committed:
    change = Change(
        session_pk=run.session_id,
        entries=(entry(run.session, run, owner=owner),),
        take=owner,
        lease_seconds=seconds,
        move=run_state.move(run, RunStatus.RUNNING),
        **more,
    )
    done = writes.commit(change)
    run.status = RunStatus.RUNNING
    return done


def lease(run: Run, epoch: int, owner: str = "w1") -> writes.Lease:
    return writes.Lease(session_pk=run.session_id, owner=owner, epoch=epoch)


def race(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in threads that start together; exceptions are results."""
    barrier = Barrier(count)

    def one(number: int) -> Any:
        barrier.wait()
        try:
            return work(number)
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_racing_appends_are_dense_and_chained(session: Session) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            journal.append(
                session.pk, entry(session, n=number, t=turn), entry(session, n=number, t=turn, b=1)
            )

    assert race(8, work) == [None] * 8
    session.refresh_from_db()
    seqs = list(JournalEntry.objects.filter(session=session).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, 81))
    verdict = journal.verify(session)
    assert (verdict.whole, verdict.entries, verdict.head) == (True, 80, session.last_hash)


def test_a_changed_entry_breaks_the_chain_where_it_is(session: Session) -> None:
    journal.append(session.pk, *(entry(session, n=n) for n in range(5)))
    JournalEntry.objects.filter(session=session, seq=3).update(payload={"n": 99})
    session.refresh_from_db()
    assert journal.verify(session).broken_at == 3


def test_a_removed_last_entry_is_missed(session: Session) -> None:
    journal.append(session.pk, *(entry(session, n=n) for n in range(3)))
    JournalEntry.objects.filter(session=session, seq=3).delete()
    session.refresh_from_db()
    assert journal.verify(session).broken_at == 3


def test_accepting_gives_positions_in_order_and_counts_the_queue(session: Session) -> None:
    results = race(8, lambda _: accept(session).pk)
    assert len(set(results)) == 8
    session.refresh_from_db()
    positions = sorted(Run.objects.filter(session=session).values_list("position", flat=True))
    assert positions == list(range(1, 9))
    assert (session.queued_runs, session.next_position) == (8, 9)


def test_an_accepted_run_keeps_every_column(session: Session) -> None:
    run = Run.objects.get(pk=accept(session).pk)
    assert run.input_message == {"role": "user", "content": "hé"}
    assert (run.metadata, run.status, run.position) == ({"n": 1}, "queued", 1)
    assert JournalEntry.objects.get(session=session).run_id == run.pk


def test_an_ended_session_accepts_nothing(session: Session) -> None:
    Session.objects.filter(pk=session.pk).update(ended_at=clock.now())
    with pytest.raises(SessionEnded):
        accept(session)
    assert not Run.objects.exists() and not JournalEntry.objects.exists()


def test_a_missing_session_is_said_so(session: Session) -> None:
    with pytest.raises(SessionMissing):
        journal.append(session.pk + 999, entry(session))
    with pytest.raises(SessionMissing):  # the same where it is looked for by its name
        sessions.get("nowhere")


def test_one_of_many_claimants_wins(session: Session) -> None:
    run = accept(session)
    seen = [Run.objects.select_related("session").get(pk=run.pk) for _ in range(6)]
    results = race(6, lambda n: claim(seen[n], f"w{n}"))
    won = [result for result in results if isinstance(result, Committed)]
    assert len(won) == 1 and won[0].epoch == 1
    assert all(isinstance(result, Committed | LeaseBusy | StaleRun) for result in results)
    session.refresh_from_db()
    assert (session.queued_runs, session.blocked) == (0, False)


def test_a_claim_opens_the_step_in_the_same_commit(session: Session) -> None:
    run = accept(session)
    start = StepStart(run_pk=run.pk, number=1, attempt=1, route_id="r", model="m", at=clock.now())
    done = claim(run, step_start=start)
    again = StepStart(run_pk=run.pk, number=1, attempt=2, route_id="r", model="m", at=clock.now())
    end = StepEnd(run_pk=run.pk, number=1, fields={"status": "failed", "error": {"code": "x"}})
    held = lease(run, done.epoch)
    writes.commit(Change(session_pk=session.pk, lease=held, lease_seconds=LIFE, step_start=again))
    writes.commit(Change(session_pk=session.pk, lease=held, lease_seconds=LIFE, step_end=end))
    step = Step.objects.get(run=run)
    assert (step.number, step.attempt, step.status, step.error) == (1, 2, "failed", {"code": "x"})


@pytest.mark.parametrize("wrong", [{"epoch": 0}, {"owner": "w2"}])
def test_a_write_under_another_lease_changes_nothing(session: Session, wrong: dict[str, Any]) -> None:
    run = accept(session)
    claim(run)
    held = writes.Lease(**({"session_pk": session.pk, "owner": "w1", "epoch": 1} | wrong))
    before = JournalEntry.objects.count()
    with pytest.raises(LeaseLost):
        journal.append(session.pk, entry(session), lease=held, lease_seconds=LIFE)
    assert JournalEntry.objects.count() == before


def test_a_write_under_an_expired_lease_changes_nothing(session: Session) -> None:
    run = accept(session)
    done = claim(run, seconds=-1)
    with pytest.raises(LeaseLost):
        journal.append(session.pk, entry(session), lease=lease(run, done.epoch), lease_seconds=LIFE)


def test_an_expired_lease_is_taken_with_a_new_epoch(session: Session) -> None:
    run = accept(session)
    claim(run, seconds=-1)
    other = Run.objects.select_related("session").get(pk=run.pk)
    change = Change(
        session_pk=session.pk,
        take="w2",
        lease_seconds=LIFE,
        move=writes.Move(
            run_pk=other.pk,
            was=RunStatus.RUNNING,
            to=RunStatus.RUNNING,
            fields={"recovered_count": 1},
        ),
    )
    assert writes.commit(change).epoch == 2
    other.refresh_from_db()
    assert other.recovered_count == 1


def test_what_its_holder_wrote_since_it_was_read_keeps_a_run_from_being_taken_over(session: Session) -> None:
    run = accept(session)
    done = claim(run)
    read = Session.objects.get(pk=session.pk)
    journal.append(session.pk, entry(session, run), lease=lease(run, done.epoch), lease_seconds=-1)

    def take(seen_seq: int) -> Committed:
        moved = writes.Move(run_pk=run.pk, was=RunStatus.RUNNING, to=RunStatus.RUNNING, fields={})
        return writes.commit(
            Change(
                session_pk=session.pk, take="w2", lease_seconds=LIFE, move=moved,
                seen_epoch=read.lease_epoch, seen_seq=seen_seq,
            )
        )  # fmt: skip

    with pytest.raises(StaleRun):
        take(read.next_seq)
    assert Session.objects.get(pk=session.pk).lease_epoch == done.epoch
    assert take(read.next_seq + 1).epoch == done.epoch + 1


def test_a_move_from_a_state_that_is_gone_changes_nothing(session: Session) -> None:
    run = accept(session)
    claim(run)
    run.status = RunStatus.QUEUED
    with pytest.raises(StaleRun):
        run_state.transition(run, RunStatus.CANCELLED, session_id=session.session_id)
    session.refresh_from_db()
    assert session.next_seq == 3


def test_a_waiting_run_blocks_its_session_and_a_resumed_one_leads_the_queue(session: Session) -> None:
    first, _second = accept(session), accept(session)
    done = claim(first)
    held = lease(first, done.epoch)
    waiting = RunStatus.WAITING_FOR_APPROVAL
    gone = run_state.transition(
        first, waiting, session_id=session.session_id, lease=held, lease_seconds=LIFE, release="idle"
    )
    assert (gone.released, gone.blocked, gone.queued_runs) == (True, True, 1)
    back = run_state.transition(first, RunStatus.QUEUED, session_id=session.session_id)
    assert (back.blocked, back.queued_runs) == (False, 2)


def test_release_is_refused_while_another_run_waits_for_its_turn(session: Session) -> None:
    first, _second = accept(session), accept(session)
    held = lease(first, claim(first).epoch)
    done = run_state.transition(
        first,
        RunStatus.COMPLETED,
        session_id=session.session_id,
        lease=held,
        lease_seconds=LIFE,
        fields={"outputs": [{"content": "x"}]},
        release="idle",
    )
    assert (done.released, done.queued_runs) == (False, 1)
    first.refresh_from_db()
    assert first.finished_at is not None and first.outputs == [{"content": "x"}]


def test_no_wake_up_is_lost_between_release_and_submit(session: Session) -> None:
    """Whoever is second sees the other: the holder keeps the lease, or the submitter finds it free."""
    for _ in range(12):
        run = accept(session)
        held = lease(run, claim(run).epoch)
        held = writes.Lease(session_pk=session.pk, owner="w1", epoch=_epoch(session))

        def work(number: int, run: Run = run, held: writes.Lease = held) -> Any:
            if number:
                return accept(session)
            return run_state.transition(
                run,
                RunStatus.COMPLETED,
                session_id=session.session_id,
                lease=held,
                lease_seconds=LIFE,
                release="idle",
            )

        finished, submitted = race(2, work)
        session.refresh_from_db()
        assert session.queued_runs == 1
        assert finished.released == (session.lease_owner == "")
        _finish_the_other(session, submitted)


def _epoch(session: Session) -> int:
    return Session.objects.values_list("lease_epoch", flat=True).get(pk=session.pk)


def _finish_the_other(session: Session, run: Run) -> None:
    Session.objects.filter(pk=session.pk).update(lease_owner="", lease_expires_at=None)
    run_state.transition(Run.objects.get(pk=run.pk), RunStatus.CANCELLED, session_id=session.session_id)


def test_an_input_read_before_its_transaction_holds_for_the_settings_it_was_read_with(
    session: Session,
) -> None:
    def accept_seen(revision: int) -> Committed:
        run = new_run(session)
        change = Change(
            session_pk=session.pk, entries=(entry(session, run),), accept=run, seen_revision=revision
        )
        return writes.commit(change)

    assert accept_seen(session.revision).queued_runs == 1
    Session.objects.filter(pk=session.pk).update(revision=session.revision + 1)
    with pytest.raises(SessionChanged):
        accept_seen(session.revision)
    assert accept_seen(session.revision + 1).queued_runs == 2
    Session.objects.filter(pk=session.pk).update(ended_at=clock.now())
    with pytest.raises(SessionEnded):
        accept_seen(session.revision + 1)
    assert Run.objects.filter(session=session).count() == 2


def planned(session: Session, count: int) -> tuple[Run, writes.Lease, list[ToolCall]]:
    """Plan calls in an open step of a run that is held."""
    run = accept(session)
    start = StepStart(run_pk=run.pk, number=1, attempt=1, route_id="r", model="m", at=clock.now())
    held = lease(run, claim(run, step_start=start).epoch)
    step = Step.objects.get(run=run)
    calls = [
        ToolCall(
            call_id=new_id("call"),
            run=run,
            step=step,
            index=index,
            tool_name="list_files",
            effect="read",
            arguments={"path": f"hé \U0001f600 {index}", "deep": [1, None, 1.5]},
            digest="d" * 64,
            idempotency_key="k" * 64,
            permission={"decision": "allow"},
            created_at=clock.now(),
        )
        for index in range(count)
    ]
    writes.commit(Change(session_pk=session.pk, lease=held, lease_seconds=LIFE, calls=tuple(calls)))
    return run, held, calls


@pytest.mark.parametrize("count", [1, 3])
def test_planned_calls_keep_every_column_and_get_their_keys(session: Session, count: int) -> None:
    _, _, calls = planned(session, count)
    for call in calls:
        row = ToolCall.objects.get(call_id=call.call_id)
        fields = [field.attname for field in ToolCall._meta.concrete_fields]
        assert [getattr(call, name) for name in fields] == [getattr(row, name) for name in fields]
        assert not call._state.adding


def test_calls_move_together_with_all_that_is_said_of_them(session: Session) -> None:
    run, held, calls = planned(session, 2)
    stored = effects.StoredResult.objects.create(sha256="s" * 64, content="x", size_bytes=1)
    change = Change(session_pk=session.pk, lease=held, lease_seconds=LIFE)
    started = tuple(effects.started(call, {"seen": "no\nthing"}) for call in calls)
    writes.commit(replace(change, advances=started))
    results = [ToolResult(content=f"'{{{n}}}' \\", data={"n": n}, is_error=n == 1) for n in range(2)]
    ended = [
        effects.settled(call, effects.STATE.SUCCEEDED, result)
        for call, result in zip(calls, results, strict=True)
    ]
    ended[0] = replace(ended[0], changes={**ended[0].changes, "stored": stored})
    calls[0].stored = stored
    writes.commit(replace(change, entries=(entry(session, run),), advances=tuple(ended)))
    for call in calls:
        row = ToolCall.objects.get(pk=call.pk)
        fields = [field.attname for field in ToolCall._meta.concrete_fields]
        assert [getattr(call, name) for name in fields] == [getattr(row, name) for name in fields]


def test_a_call_that_was_moved_meanwhile_keeps_all_from_moving(session: Session) -> None:
    run, held, calls = planned(session, 3)
    ToolCall.objects.filter(pk=calls[1].pk).update(state="denied")
    before = Session.objects.values("next_seq", "last_hash").get(pk=session.pk)
    change = Change(
        session_pk=session.pk,
        entries=(entry(session, run),),
        lease=held,
        lease_seconds=LIFE,
        move=run_state.staying(run, {"input_tokens": 99}),
        advances=tuple(effects.started(call, {}) for call in calls),
    )
    with pytest.raises(IllegalEffect):
        writes.commit(change)
    assert sorted(ToolCall.objects.values_list("state", flat=True)) == ["denied", "planned", "planned"]
    assert Session.objects.values("next_seq", "last_hash").get(pk=session.pk) == before
    assert Run.objects.get(pk=run.pk).input_tokens == 0


def test_one_of_many_who_move_the_same_calls_does(session: Session) -> None:
    """Deciders hold no lease; the row lock orders them."""
    _, _, calls = planned(session, 2)
    seen = [list(ToolCall.objects.order_by("index")) for _ in range(4)]

    def work(number: int) -> Committed:
        moved = tuple(effects.started(call, {"by": number}) for call in seen[number])
        return writes.commit(Change(session_pk=session.pk, entries=(entry(session),), advances=moved))

    results = race(4, work)
    assert sum(isinstance(result, Committed) for result in results) == 1
    assert all(isinstance(result, Committed | IllegalEffect) for result in results)
    rows = ToolCall.objects.filter(pk__in=[call.pk for call in calls])
    assert {(row.state, row.attempt) for row in rows} == {("started", 1)}
    assert len({row.prepared["by"] for row in rows}) == 1


def test_calls_do_not_move_under_another_lease(session: Session) -> None:
    _, held, (call,) = planned(session, 1)
    lost = replace(held, epoch=held.epoch - 1)
    change = Change(session_pk=session.pk, lease=lost, advances=(effects.started(call, {}),))
    with pytest.raises(LeaseLost):
        writes.commit(change)
    with pytest.raises(LeaseLost):
        writes.commit(replace(change, advances=(), calls=(call,)))
    assert ToolCall.objects.get().state == "planned"


def test_calls_stay_where_they_are_when_the_run_was_moved(session: Session) -> None:
    run, held, calls = planned(session, 2)
    change = Change(
        session_pk=session.pk,
        lease=held,
        lease_seconds=LIFE,
        move=replace(run_state.staying(run, {}), was=RunStatus.QUEUED),
        calls=(calls[0],),
        advances=tuple(effects.started(call, {}) for call in calls),
    )
    with pytest.raises(StaleRun):
        writes.commit(change)
    assert list(ToolCall.objects.values_list("state", flat=True)) == ["planned", "planned"]


def test_what_else_was_written_to_a_call_meanwhile_is_kept(session: Session) -> None:
    _, held, (call,) = planned(session, 1)
    ToolCall.objects.filter(pk=call.pk).update(provider_call_id="theirs")
    change = Change(session_pk=session.pk, lease=held, advances=(effects.started(call, {}),))
    writes.commit(replace(change, lease_seconds=LIFE))
    row = ToolCall.objects.get()
    assert (row.state, row.provider_call_id) == ("started", "theirs")


@pytest.mark.services_only
def test_the_statement_is_the_same_for_any_number_of_calls(session: Session) -> None:
    from sessions_app.services.writes import postgres

    _, held, calls = planned(session, 3)
    started = tuple(effects.started(call, {}) for call in calls)
    texts = {
        postgres._statement(
            Change(session_pk=session.pk, lease=held, calls=tuple(calls[:n]), advances=started[:n])
        )[0]
        for n in (1, 2, 3)
    }
    assert len(texts) == 1
