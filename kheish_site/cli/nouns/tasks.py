"""`tasks`: shell commands of a session, with their stored output."""

from __future__ import annotations

import time
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, REASON, TIMEOUT, Command, Context, arg, count, given
from kheish_site.cli.exits import TimedOut
from kheish_site.cli.nouns.sessions import SESSION_ID
from kheish_site.cli.resources import TASK, show_list, show_one
from kheish_site.cli.text import clean

WAIT_SLICE_SECONDS = 20.0


def list_tasks(context: Context) -> None:
    show_list(
        context, TASK, path("sessions", context.args.session_id, "tasks"), given(context.args, "status")
    )


def get(context: Context) -> None:
    show_one(context, TASK, context.client.get(_path(context)))


def output(context: Context) -> None:
    """Print what the command wrote; without --json nothing but that goes to standard output."""
    view = _read_output(context)
    if context.out.mode == "json":
        context.out.document(view)
        return
    text = clean(view.get("output_text") or "")
    if text:
        context.out.line(text.rstrip("\n"))
    if view.get("retrieval_status") == "not_ready":
        context.out.word("It is still at work; --wait waits for its end.", "dim")
    if view.get("output_truncated"):
        context.out.word("This is the end of it; --full shows all that is kept.", "dim")


def _read_output(context: Context) -> Any:
    """The output view, waited for in slices that the service allows. Raises TimedOut."""
    args = context.args
    query = given(args, "tail_bytes") | ({"full": True} if args.full else {})
    if not args.wait:
        return context.client.get(_path(context, "output"), query=query)
    deadline = context.deadline()
    while True:
        left = WAIT_SLICE_SECONDS if deadline is None else deadline - time.monotonic()
        slice_ms = int(max(0.0, min(WAIT_SLICE_SECONDS, left)) * 1000)
        view = context.client.get(
            _path(context, "output"), query=query | {"wait": True, "timeout_ms": slice_ms}
        )
        if view.get("retrieval_status") != "timeout":
            return view
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"{args.task_id} is still at work", cure="Ask again with a longer --timeout.")


def stop(context: Context) -> None:
    show_one(
        context, TASK, context.client.request("POST", _path(context, "stop"), given(context.args, "reason"))
    )


def _path(context: Context, *more: str) -> str:
    return path("sessions", context.args.session_id, "tasks", context.args.task_id, *more)


TASK_ID = arg("task_id", metavar="TASK", help="id of the task")

COMMANDS = (
    Command(
        noun="tasks",
        verb="list",
        help="list the tasks of a session",
        run=list_tasks,
        arguments=(
            SESSION_ID,
            arg("--status", metavar="STATUS", help="in_progress, completed, failed, cancelled"),
            *PAGING,
        ),
    ),
    Command(noun="tasks", verb="get", help="show one task", run=get, arguments=(SESSION_ID, TASK_ID)),
    Command(
        noun="tasks",
        verb="output",
        help="print the output of a task",
        run=output,
        arguments=(
            SESSION_ID,
            TASK_ID,
            arg("--wait", action="store_true", help="wait until it ends"),
            TIMEOUT,
            arg("--tail-bytes", metavar="N", type=count, help="only the last N bytes"),
            arg("--full", action="store_true", help="all that is kept"),
        ),
    ),
    Command(noun="tasks", verb="stop", help="stop a task", run=stop, arguments=(SESSION_ID, TASK_ID, REASON)),
)
