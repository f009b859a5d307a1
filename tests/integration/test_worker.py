"""The worker process: what it offers to its pool, whom it buries, and failures it must survive."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection
from django.db.models.functions import Now

from kheish_site.lib import clock
from kheish_site.lib.transactions import locked, write
from sessions_app import tasks
from sessions_app.engine import loop
from sessions_app.models import Approval, Session, ShellTask, Worker
from sessions_app.services import approvals, leases, processes, recovery, retention, runs, shell_tasks, worker
from sessions_app.services.approvals import Vote
from sessions_app.services.doorbell.redis_bell import RedisBell, calls_list
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.worker import WorkerProcess
from sessions_app.tools.shell_process import ShellProcess
from tests.factories import make_run, make_session
from tests.sessions_app.api.rows import make_call
from tests.sessions_app.engine.conftest import ALICE, call, kinds, pending, submit
from tests.support.engine import LONG_AGO, expire_lease, waiting_backends

pytestmark = pytest.mark.django_db(transaction=True)
Script = Callable[..., Any]


@pytest.fixture
def offered() -> list[int]:
    return []


@pytest.fixture
def process(offered: list[int]) -> Iterator[WorkerProcess]:
    made = WorkerProcess(offered.append)
    yield made
    made._ended.set()
    if made._thread.is_alive():
        made._thread.join(10)


def test_no_more_is_offered_than_the_pool_has_threads(
    process: WorkerProcess, offered: list[int], settings: Any
) -> None:
    settings.KHEISH = replace(settings.KHEISH, worker_threads=3)
    sessions = [make_session(f"s{number}") for number in range(5)]
    for session in sessions:
        make_run(session)
    for _ in range(3):
        process._feed()
    assert offered == [session.pk for session in sessions[:3]]
    process.done(sessions[0].pk)
    process._feed()
    assert offered[3:] == [sessions[0].pk]  # it is due still
    Session.objects.filter(pk=sessions[0].pk).update(queued_runs=0)
    process.done(sessions[0].pk)
    process._feed()
    assert offered[4:] == [sessions[3].pk]


@pytest.mark.parametrize(
    ("ends", "rests"),
    [
        (lambda: True, False),
        (lambda: False, True),
        (lambda: fail(ZeroDivisionError()), True),
        (lambda: fail(DataError()), True),
        (lambda: fail(OperationalError()), False),  # all fare so
    ],
)
def test_what_is_taken_up_in_vain_does_not_keep_others_from_their_turn(
    process: WorkerProcess,
    offered: list[int],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    ends: Callable[[], bool],
    rests: bool,
) -> None:
    """It stays due, before all that came later: as many as the pool has threads stopped a worker."""
    settings.KHEISH = replace(settings.KHEISH, worker_threads=2)
    sessions = [make_session(f"s{number}") for number in range(3)]
    for session in sessions:
        make_run(session)
    monkeypatch.setattr(worker, "current", lambda: process)
    monkeypatch.setattr(loop, "drive", lambda pk, heartbeat: ends())
    process._feed()
    for session_pk in list(offered):
        process._take_up(session_pk)  # rung for meanwhile
        tasks.drive(session_pk)
    again = offered[2:]
    process._feed()
    first, second, third = (session.pk for session in sessions)
    assert (again, offered[-1] == third) == ([] if rests else [first, second], rests)
    for session_pk in offered[2:]:
        process.done(session_pk)
    process._resting = dict.fromkeys(process._resting, 0.0)
    process._feed()
    assert offered[-2:] == [first, second] and not process._resting


def fail(error: Exception) -> bool:
    raise error


def test_a_ring_for_a_session_in_hand_is_heard_when_it_is_let_go(
    process: WorkerProcess, offered: list[int]
) -> None:
    process._take_up(7)
    process._take_up(7)
    process._take_up(7)
    assert offered == [7]
    process.done(7)
    assert offered == [7, 7]
    process.done(7)
    assert offered == [7, 7] and process._room() > 0


def test_what_comes_in_before_a_thread_says_that_it_let_go_is_looked_at_then(
    process: WorkerProcess, offered: list[int]
) -> None:
    session = make_session()
    process._take_up(session.pk)
    make_run(session)
    process._feed()
    assert offered == [session.pk]
    process.done(session.pk)
    assert offered == [session.pk] * 2


def test_a_session_that_the_pool_could_not_take_is_offered_again(
    process: WorkerProcess, offered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = process._room()
    with monkeypatch.context() as patch:
        patch.setattr(process, "_offer", lambda session_pk: fail(RuntimeError("can't start new thread")))
        with pytest.raises(RuntimeError):
            process._take_up(7)
    assert process._room() == room
    process._take_up(7)
    assert offered == [7]


def test_a_draining_worker_takes_nothing_up_again(process: WorkerProcess, offered: list[int]) -> None:
    process._take_up(7)
    process._take_up(7)
    process.heartbeat.draining.set()
    process.done(7)
    make_run(make_session())
    process._feed()
    assert offered == [7]


@pytest.mark.services_only
def test_what_is_rung_for_is_taken_up_by_one_worker(
    process: WorkerProcess, offered: list[int], settings: Any
) -> None:
    settings.KHEISH = replace(settings.KHEISH, worker_threads=2)
    bell = RedisBell(settings.KHEISH.redis_url)
    bell._redis.delete(calls_list())
    listening = threading.Thread(target=process._heed)
    listening.start()
    try:
        for session_pk in (11, 12, 13):
            bell.ring_workers(session_pk)
        until(lambda: len(offered) == 2)
        assert offered == [11, 12]
        process.done(11)
        until(lambda: len(offered) == 3)
        assert offered == [11, 12, 13]
    finally:
        process._ended.set()
        listening.join(10)
    assert not listening.is_alive()


@pytest.mark.services_only
def test_a_ring_that_the_pool_cannot_take_does_not_make_the_worker_deaf(
    process: WorkerProcess, offered: list[int], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = threading.Event()

    def broken(session_pk: int) -> None:
        failures.set()
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    bell = RedisBell(settings.KHEISH.redis_url)
    bell._redis.delete(calls_list())
    monkeypatch.setattr(process, "_offer", broken)
    listening = threading.Thread(target=process._heed)
    listening.start()
    try:
        bell.ring_workers(11)
        assert failures.wait(10)
        bell.ring_workers(12)
        until(lambda: offered == [12])
        assert offered == [12]
    finally:
        process._ended.set()
        listening.join(10)


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_the_search_for_work_survives_its_failures(
    process: WorkerProcess, offered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    make_run(session)
    failures = threading.Event()

    def broken(*given: Any) -> list[int]:
        failures.set()
        monkeypatch.undo()
        raise ValueError("a bug")

    monkeypatch.setattr(recovery, "due_sessions", broken)
    process._thread.start()
    assert failures.wait(10)
    for _ in range(100):
        if offered:
            break
        threading.Event().wait(0.1)
    assert offered == [session.pk]


def test_only_the_dead_are_buried(process: WorkerProcess, session: Session) -> None:
    process._announce()
    now = clock.now()
    common = {"slots": 1, "started_at": now, "pid_started": "1"}
    for name, host, pid, beat in (
        ("gone", process.host, 2**22 + 1, now),
        ("silent", "elsewhere", 1, now - timedelta(hours=1)),
        ("busy", "elsewhere", 1, now),
    ):
        Worker.objects.create(name=name, host=host, pid=pid, heartbeat_at=beat, **common)
    Session.objects.filter(pk=session.pk).update(
        lease_owner="silent", lease_epoch=1, lease_expires_at=now + timedelta(hours=1), queued_runs=1
    )
    assert recovery.bury_dead_workers(process.host) == 2
    assert set(Worker.objects.values_list("name", flat=True)) == {process.name, "busy"}
    assert session.pk in recovery.due_sessions()


@pytest.mark.parametrize("slow", ["approvals", "tasks"])
def test_a_worker_with_much_to_settle_is_not_taken_for_dead(
    process: WorkerProcess, session: Session, settings: Any, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """The thread that settles what is late is the one that beats: others had buried it."""
    settings.KHEISH = replace(settings.KHEISH, lease_seconds=0.9)
    run = make_run(session)
    late, items = clock.now() - timedelta(hours=1), range(20)
    calls = [make_call(run, index=number) for number in items]
    if slow == "approvals":
        settle = "sessions_app.services.approvals.expire"
        for number in items:
            Approval.objects.create(
                approval_id=f"apr_{number}", session=session, run=run, tool_call=calls[number],
                created_at=late, expires_at=late,
            )  # fmt: skip
    else:
        settle = "sessions_app.services.shell_tasks._settle_as_lost"
        for number in items:
            ShellTask.objects.create(
                task_id=f"task_{number}", session=session, run=run, tool_call=calls[number], command="x",
                worker="gone", started_at=late,
            )  # fmt: skip
    settled: list[Any] = []

    def take_long(item: Any) -> bool:
        time.sleep(0.15)
        settled.append(item.pk)
        type(item).objects.filter(pk=item.pk).delete()
        return True

    monkeypatch.setattr(settle, take_long)
    process._announce()
    patience = timedelta(seconds=recovery.DEAD_AFTER_LEASES * leases.lease_seconds())
    silent = Worker.objects.filter(heartbeat_at__lt=Now() - patience)
    seen: list[bool] = []
    with ThreadPoolExecutor(1) as sweeping:
        done = sweeping.submit(_closing, lambda: [process._sweep() for _ in range(20) if len(settled) < 20])
        while not done.done():
            seen.append(silent.exists())
            time.sleep(0.05)
    assert done.exception() is None and not any(seen)
    assert len(set(settled)) == len(settled) == 20


def test_after_a_time_without_a_database_nobody_is_taken_for_dead(
    process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    process._announce()
    quiet = clock.now() - timedelta(hours=1)
    common = {"slots": 1, "started_at": quiet, "pid_started": "1", "pid": 1, "host": "elsewhere"}
    other = Worker.objects.create(name="other", heartbeat_at=quiet, **common)
    lease = leases.lease_seconds()
    process._beaten = process._listening = time.monotonic() - 3 * lease  # it was away for as long
    process._sweep()
    assert Worker.objects.filter(pk=other.pk).exists()
    process._listening -= 2 * lease  # and has been back for a while
    process._sweep()
    assert not Worker.objects.filter(pk=other.pk).exists()


@pytest.mark.services_only
@pytest.mark.parametrize("first", [0, 1])
def test_burials_at_once_lock_sessions_in_one_order(first: int) -> None:
    """Two workers may bury the same dead; a plan's own order would let each wait for the other's row."""
    later = clock.now() + timedelta(hours=1)
    rows = [make_session(f"held-{number}") for number in range(2)]
    for row in (rows[first], rows[1 - first]):  # in this order the table has their newest versions
        Session.objects.filter(pk=row.pk).update(lease_owner="dead", lease_expires_at=later)
    with ThreadPoolExecutor(1) as other:
        with write():
            locked(Session.objects.filter(pk=rows[0].pk)).get()
            burial = other.submit(_buried, "dead")
            until(lambda: waiting_backends() > 0)
            assert Session.objects.select_for_update(nowait=True).get(pk=rows[1].pk)
        assert burial.result(10) == 2


def _buried(owner: str) -> int:
    try:
        return leases.expire_owned_by([owner])
    finally:
        connection.close()


def test_processes_of_another_container_are_not_looked_for_here(monkeypatch: pytest.MonkeyPatch) -> None:
    here = processes.host()
    monkeypatch.setattr("os.readlink", lambda path: "pid:[1]")
    assert processes.host() != here
    assert processes.host().rpartition("/")[0] == here.rpartition("/")[0]


def test_what_outlived_its_time_goes_until_nothing_is_left_of_it(
    process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, done = [100, 100, 99], threading.Event()
    nothing = dict.fromkeys(retention.purge(), 0)

    def purge() -> dict[str, int]:
        gone = nothing | {"sessions": left.pop(0)}
        if not left:
            done.set()
        return gone

    monkeypatch.setattr("sessions_app.services.worker._BETWEEN_BATCHES_SECONDS", 0)
    monkeypatch.setattr("sessions_app.services.retention.purge", purge)
    just_booted = SimpleNamespace(monotonic=lambda: 60.0)
    monkeypatch.setattr("sessions_app.services.worker.time", just_booted)
    process._announce()
    process._sweep()
    assert done.wait(10)
    process._cleaner.join(10)
    process._sweep()
    assert left == [] and not process._cleaner.is_alive()


def test_a_worker_buried_by_mistake_comes_back(process: WorkerProcess) -> None:
    process._announce()
    Worker.objects.all().delete()
    process._beat()
    assert Worker.objects.get().pid_started == processes.started(Worker.objects.get().pid)


def test_the_end_of_a_task_outlasts_a_database_that_is_away(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, tries = shell_tasks._settle, []

    def away(*given: Any) -> bool:
        tries.append(given)
        if len(tries) < 3:
            raise OperationalError("the server closed the connection")
        return settle(*given)

    monkeypatch.setattr(shell_tasks, "_AWAY_SECONDS", 0.01)
    monkeypatch.setattr(shell_tasks, "_LEAVING", threading.Event())
    monkeypatch.setattr(shell_tasks, "_settle", away)
    Session.objects.filter(pk=session.pk).update(permission_mode="bypassPermissions")
    script({"tool_calls": [call("bash", command="exit 3", run_in_background=True)]}, {"text": "end"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    until(lambda: ShellTask.objects.get().status != "in_progress")
    task = ShellTask.objects.get()
    assert (task.status, task.exit_code, len(tries)) == ("failed", 3, 3)
    assert kinds(run).count("task.finished") == 1


@pytest.mark.parametrize("is_kept", [False, True])
def test_the_output_of_a_task_outlasts_a_database_that_is_away(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    """The command waits on its pipe; what was committed, and nobody heard so, is there once."""
    tries = list[str]()

    @contextmanager
    def away() -> Iterator[None]:
        fails = len(tries) < 2 and threading.current_thread().name.startswith("shell-")
        if fails:
            tries.append("away")
        if not fails or is_kept:
            with write():
                yield
        if fails:
            raise OperationalError("the server closed the connection")

    monkeypatch.setattr(shell_tasks, "_AWAY_SECONDS", 0.01)
    monkeypatch.setattr(shell_tasks, "_LEAVING", threading.Event())
    monkeypatch.setattr(shell_tasks, "write", away)
    Session.objects.filter(pk=session.pk).update(permission_mode="bypassPermissions")
    script(
        {"tool_calls": [call("bash", command="echo one; sleep 0.5; echo two", run_in_background=True)]},
        {"text": "end"},
    )
    submit(session)
    loop.drive(session.pk, heartbeat)
    until(lambda: ShellTask.objects.get().status != "in_progress")
    task = ShellTask.objects.get()
    assert (task.status, task.metadata["terminal_reason"], len(tries)) == ("completed", "exited", 2)
    assert shell_tasks.output(task).text == "one\ntwo\n"
    assert (task.output_size_bytes, task.output_total_bytes) == (8, 8)


def test_a_command_that_is_being_started_while_its_worker_leaves_is_stopped(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, stops = ShellProcess.start, list[threading.Thread]()

    def start_late(process: ShellProcess) -> None:
        stops.append(threading.Thread(target=shell_tasks.stop_all, args=("the worker stopped",)))
        stops[0].start()
        stops[0].join(0.2)
        start(process)

    monkeypatch.setattr(shell_tasks, "_LEAVING", threading.Event())
    monkeypatch.setattr(ShellProcess, "start", start_late)
    Session.objects.filter(pk=session.pk).update(permission_mode="bypassPermissions")
    script({"tool_calls": [call("bash", command="sleep 5")]}, {"text": "end"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    stops[0].join(10)
    task = ShellTask.objects.get(run=run)
    assert (task.status, task.metadata["terminal_reason"]) == ("cancelled", "stopped")


def test_a_command_whose_start_takes_long_holds_up_no_other(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder may be on a disk that does not answer."""
    start, looked = ShellProcess.start, list[bool]()

    def look() -> None:
        shell_tasks.stop_settled()
        connection.close()

    def start_late(process: ShellProcess) -> None:
        other = threading.Thread(target=look)
        other.start()
        other.join(3)
        looked.append(not other.is_alive())
        start(process)

    monkeypatch.setattr(ShellProcess, "start", start_late)
    Session.objects.filter(pk=session.pk).update(permission_mode="bypassPermissions")
    script({"tool_calls": [call("bash", command="true")]}, {"text": "end"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    assert looked == [True]
    assert ShellTask.objects.get(run=run).status == "completed"


def test_a_task_settled_while_its_worker_was_frozen_is_ended_and_says_no_more(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    """The worker's row was buried; the process it watches must go, and nothing of it may be journalled."""
    script(
        {"tool_calls": [call("bash", command="sleep 60; echo late", run_in_background=True)]}, {"text": "end"}
    )
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    assert shell_tasks.settle_lost() == 1
    before = kinds(run)
    (process,) = list(shell_tasks._LIVE.values())
    shell_tasks.stop_settled()
    assert process.wait(10) is not None
    task = ShellTask.objects.get(run=run)
    assert (task.status, task.metadata["terminal_reason"]) == ("failed", "daemon_restarted")
    assert kinds(run) == before and not task.chunks.exists()


@pytest.mark.services_only
def test_one_locked_session_does_not_let_the_other_leases_run_out(
    script: Script, heartbeat: Heartbeat
) -> None:
    """A client that is frozen inside its transaction must not cost a worker all it drives."""
    first, second = make_session("first"), make_session("second")
    for session in (first, second):
        Session.objects.filter(pk=session.pk).update(
            lease_owner="worker-1", lease_epoch=1, lease_expires_at=clock.now() + timedelta(seconds=30)
        )
    locked, done = threading.Event(), threading.Event()

    def hold_the_row() -> None:
        from django.db import transaction

        with transaction.atomic():
            Session.objects.select_for_update().get(pk=first.pk)
            locked.set()
            done.wait(30)
        connection.close()

    thread = threading.Thread(target=hold_the_row)
    thread.start()
    try:
        assert locked.wait(10)
        assert leases.renew("worker-1", [first.pk, second.pk]) == 1
        assert set(leases.held_epochs("worker-1", [first.pk, second.pk])) == {first.pk, second.pk}
    finally:
        done.set()
        thread.join()


@pytest.mark.services_only
@pytest.mark.parametrize("held", [True, False])
def test_a_lease_is_renewed_also_where_somebody_always_has_its_row(session: Session, held: bool) -> None:
    """Two that wrote to a session all the time had cost its worker the lease, and its run an answer."""
    Session.objects.filter(pk=session.pk).update(
        lease_owner="worker-1" if held else "worker-2",
        lease_epoch=1,
        lease_expires_at=clock.now() + timedelta(seconds=3),
    )
    with ThreadPoolExecutor(1) as other:
        with write():
            locked(Session.objects.filter(pk=session.pk)).get()
            renewal = other.submit(_closing, lambda: leases.renew("worker-1", [session.pk]))
            until(lambda: waiting_backends() > 0, 0.4)
        assert renewal.result(10) == held
    session.refresh_from_db()
    assert session.lease_expires_at is not None
    assert (session.lease_expires_at > clock.now() + timedelta(seconds=5)) == held


def _closing(do: Callable[[], Any]) -> Any:
    try:
        return do()
    finally:
        connection.close()


def test_an_expired_lease_is_not_renewed(session: Session) -> None:
    Session.objects.filter(pk=session.pk).update(
        lease_owner="worker-1", lease_epoch=1, lease_expires_at=LONG_AGO
    )
    expire_lease(session.pk)
    assert leases.renew("worker-1", [session.pk]) == 0
    assert leases.held_epochs("worker-1", [session.pk]) == {}


@pytest.mark.embedded_only
def test_a_lease_that_ran_out_while_the_writer_was_waited_for_is_not_renewed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    Session.objects.filter(pk=session.pk).update(
        lease_owner="worker-1", lease_epoch=1, lease_expires_at=clock.now() + timedelta(seconds=0.2)
    )

    @contextmanager
    def in_turn() -> Iterator[None]:
        time.sleep(0.3)
        with write():
            yield

    monkeypatch.setattr(leases, "write", in_turn)
    assert leases.renew("worker-1", [session.pk]) == 0


def test_a_command_that_takes_too_long_has_ended_when_the_model_hears_of_it(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from sessions_app.tools.bash import Bash

    monkeypatch.setattr(Bash, "spec", replace(Bash.spec, timeout_seconds=0.2))
    script({"tool_calls": [call("bash", command="echo begun; sleep 60")]}, {"text": "end"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    loop.drive(session.pk, heartbeat)
    made = run.tool_calls.get()
    assert (made.state, made.error_code) == ("failed", "command_stopped")
    assert "begun" in made.content and "exit code None" not in made.content
    assert ShellTask.objects.get(run=run).status == "cancelled"


def test_a_process_that_ends_while_it_is_looked_at_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(path: Path) -> str:
        raise ProcessLookupError("it was there when the file was opened")

    monkeypatch.setattr(Path, "read_text", end)
    assert processes.started(1) == ""
