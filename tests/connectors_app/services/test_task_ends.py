"""How a background task ended is told once, where its run answers to, in the commit that settles it."""

from collections.abc import Callable
from typing import Any

import pytest

from connectors_app.models import Connector, Delivery
from connectors_app.services import handles
from kheish_site.lib import clock
from sessions_app.models import Run, Session, ShellTask, TickLease
from sessions_app.services import ports, shell_tasks
from sessions_app.services.worker import WorkerProcess
from tests.connectors_app.people import answer_to, make_connector, target_of
from tests.factories import make_client
from tests.sessions_app.engine.conftest import call, kinds
from tests.support.engine import race
from tests.support.service_process import until

pytestmark = pytest.mark.django_db(transaction=True)
Drive = Callable[..., Run]
HOOK = {"plugin": "http", "address": {"url": "https://203.0.113.7/hook?key=s", "headers": {}}}
ELSEWHERE = {"plugin": "http", "address": {"url": "https://203.0.113.7/elsewhere", "headers": {}}}


def told() -> list[Delivery]:
    return list(Delivery.objects.filter(kind="notice").order_by("id"))


def finish(drive: Drive, session: Session, command: str, **more: Any) -> ShellTask:
    """A run that begins this in the background, and whose task has ended."""
    Session.objects.filter(pk=session.pk).update(permission_mode="bypassPermissions")
    drive({"tool_calls": [call("bash", command=command, **more)]}, {"text": "left running"})
    until(lambda: ShellTask.objects.get().status != "in_progress", 20, lambda: ShellTask.objects.get().status)
    return ShellTask.objects.get()


def lost(run: Run, **more: Any) -> ShellTask:
    """A background task whose worker is no more."""
    fields = {"task_id": "task_1", "session": run.session, "run": run, "tool_call": run.tool_calls.get()}
    return ShellTask.objects.create(
        command="make all",
        background=True,
        worker="worker-gone",
        started_at=clock.now(),
        **{**fields, **more},
    )


@pytest.mark.parametrize(("command", "ended"), [("exit 0", "completed"), ("exit 3", "failed")])
def test_the_end_is_told_where_the_run_answered_to(
    drive: Drive, session: Session, command: str, ended: str
) -> None:
    answer_to(session, HOOK)
    task = finish(drive, session, f"sleep 0.3; {command}", run_in_background=True, description="the *tests*")
    (notice,) = told()
    code = int(command[-1])
    assert (notice.key, notice.status, notice.run_id) == (f"{task.task_id}:ended", "pending", task.run_id)
    assert notice.content.splitlines()[0] == f"A background task has ended: {ended} (exit code {code})"
    assert "the *tests*" in notice.content and f"tasks output desk {task.task_id}" in notice.content
    wanted = {"notice": "task", "task_id": task.task_id, "status": ended, "exit_code": code}
    assert wanted.items() <= notice.metadata.items()
    assert kinds(task.run)[-2:] == ["task.finished", "delivery.queued"]
    view = make_client("viewer").get(f"/v1/sessions/desk/tasks/{task.task_id}").json()
    (shown,) = view["metadata"]["reply_targets"]
    assert shown["address"]["url"].startswith("https://203.0.113.7/hook") and "key=s" not in str(view)


def test_what_is_waited_for_and_who_answers_to_nobody_are_not_told_of(drive: Drive, session: Session) -> None:
    finish(drive, session, "exit 3", run_in_background=True)
    assert told() == []
    ShellTask.objects.all().delete()
    answer_to(session, HOOK)
    task = finish(drive, session, "exit 3")
    assert told() == []
    view = make_client("viewer").get(f"/v1/sessions/desk/tasks/{task.task_id}").json()
    assert "reply_targets" not in view["metadata"]


def test_a_task_that_died_with_its_worker_is_told_of_once(drive: Drive, session: Session) -> None:
    answer_to(session, HOOK)
    run = drive({"tool_calls": [call("list_files")]}, {"text": "done"})
    answer_to(session, ELSEWHERE)  # later, and so not for this one
    task = lost(Run.objects.get(pk=run.pk))
    assert sorted(race(4, lambda number: shell_tasks.settle_lost())) == [0, 0, 0, 1]
    assert shell_tasks.settle_lost() == 0
    (notice,) = told()
    assert notice.content.startswith("A background task has ended: failed (daemon_restarted)\n")
    assert notice.metadata["recovered_on_boot"] is True
    assert notice.target.digest == handles.digest_of(HOOK)
    task.refresh_from_db()
    assert task.status == "failed"


def test_a_settling_that_fails_tells_nobody_and_is_made_up_for(
    drive: Drive, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_to(session, HOOK)
    lost(Run.objects.get(pk=drive({"tool_calls": [call("list_files")]}, {"text": "done"}).pk))

    def die(task: ShellTask) -> None:
        raise RuntimeError("the worker died before the commit")

    monkeypatch.setattr(ports, "_TASK_ENDS", [*ports._TASK_ENDS, die])
    assert shell_tasks.settle_lost() == 0
    assert told() == [] and ShellTask.objects.get().status == "in_progress"
    monkeypatch.undo()
    assert shell_tasks.settle_lost() == 1
    assert len(told()) == 1


def test_one_task_that_cannot_be_settled_keeps_neither_the_others_nor_the_sweep(
    drive: Drive, session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No worker had come through its start, and none had looked for what has expired."""
    answer_to(session, HOOK)
    run = Run.objects.get(pk=drive({"tool_calls": [call("list_files")]}, {"text": "done"}).pk)
    wrong, right = lost(run), lost(run, task_id="task_2")

    def fail(task: ShellTask) -> None:
        if task.pk == wrong.pk:
            raise ZeroDivisionError

    monkeypatch.setattr(ports, "_TASK_ENDS", [fail, *ports._TASK_ENDS])
    process = WorkerProcess(lambda session_pk: None)
    process._announce()
    process._sweep()
    rows = dict(ShellTask.objects.values_list("pk", "status"))
    assert rows == {wrong.pk: "in_progress", right.pk: "failed"}
    assert TickLease.objects.filter(name="sweep", owner=process.name).exists()
    assert "one was left out" in caplog.text


def test_an_address_is_told_also_when_the_connector_is_gone_that_brought_the_run(
    drive: Drive, session: Session
) -> None:
    answer_to(session, HOOK)
    run = drive({"tool_calls": [call("list_files")]}, {"text": "done"})
    Run.objects.filter(pk=run.pk).update(source_plugin="http", source_kind="gone")
    lost(Run.objects.get(pk=run.pk))
    assert shell_tasks.settle_lost() == 1
    (notice,) = told()
    assert notice.target.digest == handles.digest_of(HOOK)


def test_a_connector_may_say_that_it_takes_no_notices(
    drive: Drive, session: Session, slack: Connector
) -> None:
    quiet = make_connector("quiet", send_notices=False)
    gone = {"plugin": "slack", "address": {"connector": "gone", "channel_id": "C2"}}
    answer_to(session, target_of(slack, channel_id="C1"), target_of(quiet, channel_id="C1"), gone)
    finish(drive, session, "exit 3", run_in_background=True)
    (notice,) = told()
    assert notice.target.connector_name == "ops"
