"""Shell tasks: commands a worker runs for a call, their output in rows, their end settled once.

A task lives in the process group of its worker and dies with it. Whoever finds its worker dead settles
it fail closed: ``failed``, ``terminal_reason=daemon_restarted``, ``recovered_on_boot``, output kept.
The end of a background task is told where its run answers to, which the run captured when it was made:
what the session says later changes nothing.
Source: ARCHITECTURE, "If X dies here, then".
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.db import connection
from django.db.models import Q, Sum

from kheish_site.lib import clock
from kheish_site.lib.errors import NotFound
from kheish_site.lib.ids import new_id
from kheish_site.lib.in_turn import each
from kheish_site.lib.prepared import insert_if_new
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import AWAY, release_connection, write
from sessions_app.models import (
    Run,
    ShellTask,
    TaskOutput,
    TaskStatus,
    ToolCall,
    ToolCallState,
    Worker,
)
from sessions_app.services import journal, leases, ports, sessions
from sessions_app.services.writes import Lease
from sessions_app.tools.base import OutputView, TaskView, ToolFailure
from sessions_app.tools.shell_process import (
    DRAIN_SECONDS,
    GRACE_SECONDS,
    ExitReport,
    ShellProcess,
    StartFailed,
)

logger = logging.getLogger(__name__)
KEEP_BYTES: Final = 8 * 1024 * 1024
ROTATE_TO_BYTES: Final = 6 * 1024 * 1024
PARTIAL_BYTES: Final = 4_000
_PIECES: Final = 64
"""Pieces of output that are read at once."""
_POLL_SECONDS: Final = 0.2
STOP_SECONDS: Final = 2 * GRACE_SECONDS + DRAIN_SECONDS

_LIVE: dict[str, ShellProcess] = {}
"""Processes of this worker by task id: a cache of what the rows say, needed only to signal them."""
_LIVE_LOCK = threading.Lock()
_LEAVING = threading.Event()
"""Set when this worker ends: what it could not record is settled as lost by others."""
_AWAY_SECONDS: Final = 1.0


class TaskSettled(Exception):
    """Somebody settled the task as lost: its process must end and has nothing more to say."""


class TaskMissing(NotFound):
    """The session has no such task."""

    code, domain = "task_not_found", "tasks"


def get(session_id: str, task_id: str) -> ShellTask:
    """Return a task of a session. Raises: TaskMissing."""
    found = ShellTask.objects.select_related("session", "run", "tool_call").filter(
        session__session_id=session_id, task_id=task_id
    )
    task = found.first()
    if task is None:
        raise TaskMissing(f"session {session_id} has no task {task_id}")
    return task


def output(task: ShellTask, *, tail_bytes: int = 8192, full: bool = False) -> OutputView:
    """Return the newest ``tail_bytes`` of the kept output, or all of it; reading says nothing of success."""
    task.refresh_from_db(fields=["output_size_bytes", "output_total_bytes", "output_rotated", "status"])
    pieces, read_bytes = _tail(task, task.output_size_bytes if full else tail_bytes)
    # The pieces were masked one by one: a secret cut in two shows only in the whole.
    text = redact("".join(pieces))
    encoded = text.encode()
    is_cut = not full and len(encoded) > tail_bytes
    if is_cut:
        text = encoded[-tail_bytes:].decode(errors="ignore")
    return OutputView(
        retrieval_status="success",
        text=text,
        truncated=is_cut or read_bytes < task.output_total_bytes,
        size_bytes=task.output_size_bytes,
        total_bytes=task.output_total_bytes,
        rotated=task.output_rotated,
    )


def _tail(task: ShellTask, size: int) -> tuple[list[str], int]:
    """Return the newest pieces that hold ``size`` bytes together, and how many bytes they have."""
    pieces, taken, rows = list[str](), 0, task.chunks.order_by("-offset")
    while taken < size:
        found = list(rows.values_list("offset", "text", "size_bytes")[:_PIECES])
        for _, text, length in found:
            pieces.append(text)
            taken += length
            if taken >= size:
                break
        if len(found) < _PIECES:
            break
        rows = rows.filter(offset__lt=found[-1][0])  # not by count: a live task writes more meanwhile
    return pieces[::-1], taken


def partial_output(call: ToolCall) -> str:
    """Return the end of what the task behind ``call`` wrote, for whoever must judge the call."""
    task = ShellTask.objects.filter(tool_call=call).order_by("-id").first()
    return output(task, tail_bytes=PARTIAL_BYTES).text if task else ""


def request_stop(task: ShellTask, reason: str) -> ShellTask:
    """Ask the task's worker to end it; a task that has ended is returned unchanged."""
    asked = ShellTask.objects.filter(pk=task.pk, status=TaskStatus.IN_PROGRESS, stop_requested_at=None)
    with write():
        asked.update(stop_requested_at=clock.now(), stop_reason=redact(reason)[:500])
    stop_requested([task.worker])
    task.refresh_from_db()
    return task


def stop_requested(workers: Iterable[str]) -> None:
    """End the processes of this worker whose rows ask for it (called by the worker's watch)."""
    rows = ShellTask.objects.filter(
        worker__in=list(workers), status=TaskStatus.IN_PROGRESS, stop_requested_at__isnull=False
    )
    for task_id, reason in rows.values_list("task_id", "stop_reason"):
        process = _LIVE.get(task_id)
        if process is not None:
            threading.Thread(target=process.stop, args=(reason,), daemon=True).start()


def stop_settled() -> None:
    """End processes of this worker whose tasks were settled as lost while it was frozen."""
    with _LIVE_LOCK:
        live = dict(_LIVE)
    rows = ShellTask.objects.filter(task_id__in=live).exclude(status=TaskStatus.IN_PROGRESS)
    for task_id in rows.values_list("task_id", flat=True):
        threading.Thread(target=live[task_id].stop, args=("lost",), daemon=True).start()


def stop_all(reason: str) -> None:
    """End every process of this worker at once, because the worker ends."""
    _LEAVING.set()
    with _LIVE_LOCK:
        processes = list(_LIVE.values())
    stops = [threading.Thread(target=process.stop, args=(reason,), daemon=True) for process in processes]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join()


def settle_lost(run: Run | None = None) -> int:
    """Settle tasks whose worker is dead; of one run, or all. Returns how many.

    With ``run``, which the caller holds and has started nothing of, also the tasks of calls that are
    under way: their worker may live, but it has lost the run. Without, what cannot be settled is left out.
    """
    dead = ~Q(worker__in=Worker.objects.values("name"))
    lost = ShellTask.objects.filter(dead, status=TaskStatus.IN_PROGRESS)
    if run is not None:
        orphaned = dead | Q(tool_call__state=ToolCallState.STARTED)
        lost = ShellTask.objects.filter(orphaned, status=TaskStatus.IN_PROGRESS, run=run)
    tasks = lost.select_related("session", "run")
    if run is not None:
        return sum(map(_settle_as_lost, tasks))
    # Whoever sweeps has to be heard of: of many the rest is settled by the next sweep.
    return each(tasks, _settle_as_lost, action="task.settle", seconds=leases.lease_seconds() / 3)


def _settle_as_lost(task: ShellTask) -> bool:
    metadata = {"terminal_reason": "daemon_restarted", "recovered_on_boot": True, "cancelled": False}
    return _settle(task, TaskStatus.FAILED, None, metadata)


def _settle(task: ShellTask, status: TaskStatus, exit_code: int | None, metadata: dict[str, object]) -> bool:
    """Settle once, and tell of it in the same commit.

    The update names the state it expects, so a late watcher changes nothing.
    """
    with write():
        sessions.lock(task.session_id)
        fresh = ShellTask.objects.filter(pk=task.pk, status=TaskStatus.IN_PROGRESS)
        kept = task.metadata | metadata
        if fresh.update(status=status, exit_code=exit_code, finished_at=clock.now(), metadata=kept) != 1:
            return False
        payload = {"task_id": task.task_id, "status": str(status), "exit_code": exit_code, **metadata}
        entry = journal.entry(task.session.session_id, "task.finished", payload, run=task.run)
        journal.append(task.session_id, entry)
        if task.background and task.run.reply_targets:
            task.refresh_from_db(fields=["status", "exit_code", "metadata"])
            ports.task_ended(task)
    return True


class SessionTasks:
    """The ``ShellTasks`` port of one call: it starts tasks for the call, and sees those of its session.

    Starting commits under the lease, so a worker that lost the run starts nothing.
    """

    def __init__(self, run: Run, call: ToolCall, *, lease: Lease) -> None:
        self._run, self._call, self._lease = run, call, lease

    def start(
        self,
        *,
        command: str,
        workdir: Path,
        env: Mapping[str, str],
        description: str,
        background: bool,
    ) -> str:
        """Start the command and return its task id. Raises: ToolFailure, LeaseLost."""
        task = self._create(command, description, background)
        watch = _Watch(task)
        process = ShellProcess(
            command=command, workdir=workdir, env=env, on_output=watch.on_output, on_exit=watch.on_exit
        )
        with _LIVE_LOCK:  # before it runs, so that it ends no sooner; whoever stops it waits until it runs
            _LIVE[task.task_id] = process
        try:
            process.start()
        except StartFailed as error:
            with _LIVE_LOCK:
                _LIVE.pop(task.task_id, None)
            _settle(task, TaskStatus.FAILED, None, {"terminal_reason": "start_failed"})
            raise ToolFailure("start_failed", f"the command could not be started: {error}") from error
        with write():
            ShellTask.objects.filter(pk=task.pk).update(pid=process.pid)
        release_connection()
        return task.task_id

    def _create(self, command: str, description: str, background: bool) -> ShellTask:
        run, task_id = self._run, new_id("task")
        payload = {
            "task_id": task_id,
            "call_id": self._call.call_id,
            "command": command,
            "background": background,
        }
        entry = journal.entry(run.session.session_id, "task.started", payload, run=run)
        with write():
            journal.append(run.session_id, entry, lease=self._lease, lease_seconds=leases.lease_seconds())
            return ShellTask.objects.create(
                task_id=task_id,
                session=run.session,
                run=run,
                tool_call=self._call,
                command=redact(command),
                description=redact(description),
                background=background,
                worker=self._lease.owner,
                metadata={"kind": "background_shell", "started_in_background": background},
                started_at=clock.now(),
            )

    def wait(self, task_id: str, timeout_seconds: float) -> TaskView:
        """Return the task when it has ended, or as it is when the time is over."""
        process = _LIVE.get(task_id)
        if process is not None:
            process.wait(timeout_seconds)
            return self.get(task_id)
        until = time.monotonic() + timeout_seconds
        while (view := self.get(task_id)).status == "in_progress" and time.monotonic() < until:
            release_connection()
            time.sleep(_POLL_SECONDS)
        return view

    def get(self, task_id: str) -> TaskView:
        """Return the task as its row says. Raises: TaskMissing."""
        task = get(self._run.session.session_id, task_id)
        return TaskView(
            task_id=task.task_id,
            status=task.status,  # type: ignore[arg-type]  # the constraint holds it to the literal
            command=task.command,
            exit_code=task.exit_code,
            terminal_reason=task.metadata.get("terminal_reason", ""),
            description=task.description,
            started_at=task.started_at,
            finished_at=task.finished_at,
            metadata=task.metadata,
        )

    def output(self, task_id: str, *, tail_bytes: int, full: bool) -> OutputView:
        """Return output of the task. Raises: TaskMissing."""
        return output(get(self._run.session.session_id, task_id), tail_bytes=tail_bytes, full=full)

    def stop(self, task_id: str, reason: str) -> TaskView:
        """Ask the task to end and wait until it has, or for as long as that may take. Raises: TaskMissing."""
        request_stop(get(self._run.session.session_id, task_id), reason)
        return self.wait(task_id, STOP_SECONDS)


class _Watch:
    """Writes a task's output and end, in the thread that reads its pipe."""

    def __init__(self, task: ShellTask) -> None:
        self._task = task
        self._total = 0
        self._kept = 0

    def on_output(self, text: str) -> None:
        """Keep a piece. Raises: TaskSettled."""
        clean = redact(text)
        self._insist(partial(self._keep, clean, len(clean.encode())))
        release_connection()

    def _keep(self, text: str, size: int) -> None:
        total, kept = self._total + size, self._kept + size
        with write():
            live = ShellTask.objects.filter(pk=self._task.pk, status=TaskStatus.IN_PROGRESS)
            if live.update(output_total_bytes=total) != 1:
                raise TaskSettled
            # It is there when the answer to a commit was lost.
            insert_if_new(TaskOutput(task=self._task, offset=self._total, text=text, size_bytes=size))
            fields: dict[str, Any] = {}
            if kept > KEEP_BYTES:
                kept, fields = self._rotated(total), {"output_rotated": True}
            ShellTask.objects.filter(pk=self._task.pk).update(output_size_bytes=kept, **fields)
        self._total, self._kept = total, kept

    def _rotated(self, total: int) -> int:
        """Drop the oldest pieces until ``ROTATE_TO_BYTES`` are kept; return how many are."""
        TaskOutput.objects.filter(task=self._task, offset__lt=total - ROTATE_TO_BYTES).delete()
        return TaskOutput.objects.filter(task=self._task).aggregate(kept=Sum("size_bytes"))["kept"] or 0

    def on_exit(self, report: ExitReport) -> None:
        stopped = report.terminal_reason == "stopped"
        status = TaskStatus.COMPLETED if report.exit_code == 0 else TaskStatus.FAILED
        if stopped:
            status = TaskStatus.CANCELLED
        metadata: dict[str, object] = {
            "terminal_reason": report.terminal_reason,
            "recovered_on_boot": False,
            "cancelled": stopped,
        }
        if stopped:
            metadata |= {"stop_requested": True, "stop_reason": report.stop_reason}
        try:
            self._insist(partial(_settle, self._task, status, report.exit_code, metadata))
        finally:
            with _LIVE_LOCK:
                _LIVE.pop(self._task.task_id, None)
            connection.close()

    def _insist(self, act: Callable[[], object]) -> None:
        """Do it; while the database is away, again: nobody else does it while this worker lives."""
        while True:
            try:
                act()
                return
            except AWAY:
                extra = {"action": "task.watch", "task": self._task.task_id}
                logger.warning("what a task says waits", exc_info=True, extra=extra)
                connection.close()
                if _LEAVING.wait(_AWAY_SECONDS):
                    raise
