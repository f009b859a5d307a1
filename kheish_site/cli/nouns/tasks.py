"""`tasks`: shell commands of a session, with their stored output."""

from __future__ import annotations

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, REASON, TIMEOUT, Command, Context, arg, count, given
from kheish_site.cli.exits import Exit, TimedOut
from kheish_site.cli.nouns.sessions import SESSION_ID
from kheish_site.cli.resources import TASK, show_list, show_one
from kheish_site.cli.text import clean


def list_tasks(context: Context) -> None:
    show_list(
        context, TASK, path("sessions", context.args.session_id, "tasks"), given(context.args, "status")
    )


def get(context: Context) -> None:
    show_one(context, TASK, context.client.get(_path(context)))


def output(context: Context) -> int:
    """Print what the command wrote; without --json nothing but that goes to standard output."""
    args = context.args
    query = given(args, "tail_bytes") | {name: True for name in ("wait", "full") if getattr(args, name)}
    if args.timeout is not None:
        query["timeout_ms"] = int(args.timeout * 1000)
    view = context.client.get(_path(context, "output"), query=query)
    if view.get("retrieval_status") == "timeout":
        raise TimedOut(f"{args.task_id} is still at work", cure="Ask again with a longer --timeout.")
    if context.out.mode == "json":
        context.out.document(view)
        return Exit.OK
    text = clean(view.get("output_text") or view.get("text") or view.get("output_excerpt") or "")
    if text:
        context.out.line(text.rstrip("\n"))
    if view.get("output_truncated") or view.get("truncated"):
        context.out.word("This is the end of it; --full shows all that is kept.", "dim")
    return Exit.OK


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
