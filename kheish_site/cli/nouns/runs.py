"""`runs`: single pieces of work, from submission to their end."""

from __future__ import annotations

from kheish_site.cli.client import path
from kheish_site.cli.command import (
    CURSOR,
    DELTAS,
    EXIT_ON_WAIT,
    EXIT_STATUS,
    PAGING,
    REASON,
    TIMEOUT,
    Command,
    Context,
    arg,
    given,
    read_text,
    write_pieces,
)
from kheish_site.cli.nouns.sessions import EVENT_LIST, FOLLOW, SESSION_ID, show_events
from kheish_site.cli.nouns.submitting import IDEMPOTENCY_KEY, SUBMIT_ARGUMENTS, WATCHING, send, submit
from kheish_site.cli.output import Style
from kheish_site.cli.resources import ACTION, RUN, show_list, show_one
from kheish_site.cli.text import age
from kheish_site.cli.timeline import Timeline
from kheish_site.cli.waiting import announce, is_waiting
from kheish_site.cli.watch import watch_run

_STYLES: dict[str, Style] = {"waiting": "amber", "moving": "blue"}
RUN_ID = arg("run_id", metavar="RUN", help="id of the run")


def list_runs(context: Context) -> None:
    show_list(context, RUN, path("runs"), given(context.args, "session_id", "status"))


def get(context: Context) -> None:
    run = context.client.get(path("runs", context.args.run_id))
    show_one(context, RUN, run)
    if context.out.mode == "human" and is_waiting(run):
        announce(context, run)


def why(context: Context) -> None:
    """The sentence, then the chain behind it as a table, then how to go on."""
    found = context.client.get(path("runs", context.args.run_id, "why"))
    if context.out.mode == "json":
        context.out.document(found)
        return
    if context.out.mode == "quiet":
        context.out.line(str(found["code"]))
        return
    context.out.line(str(found["sentence"]), _STYLES.get(str(found["state"]), ""))
    causes = [cause for cause in found["because"] if cause["sentence"] != found["sentence"]]
    if causes:
        rows = [
            [cause["kind"], cause["id"], age(cause["since"]) if cause["since"] else "", cause["sentence"]]
            for cause in causes
        ]
        context.out.table(["BECAUSE", "ID", "SINCE", "WHAT"], rows)
    if found["next"]:
        context.out.word(str(found["next"]), "dim")


def export(context: Context) -> None:
    """Write the run's document to a file or to standard output, byte for byte."""
    args = context.args
    query = {**given(args, "reason"), **({"unredacted": True} if args.unredacted else {})}
    pieces = context.client.export(
        path("runs", args.run_id, "export"), query=query, media_type="application/json"
    )
    write_pieces(context, pieces, args.output)


def external_actions(context: Context) -> None:
    """The signed records of what the run sent out, oldest first."""
    show_list(context, ACTION, path("runs", context.args.run_id, "external-actions"))


def watch(context: Context) -> int:
    return watch_run(context, context.args.run_id, show=True, cursor=context.args.cursor or "0")


def wait(context: Context) -> int:
    return watch_run(context, context.args.run_id, show=False)


def events(context: Context) -> None:
    if context.args.follow:
        stream(context)
    else:
        show_events(context, path("runs", context.args.run_id, "events"))


def stream(context: Context) -> None:
    timeline = Timeline(context.out, deltas=context.args.deltas)
    for event in context.client.runs(context.args.run_id).stream(cursor=context.args.cursor or "0"):
        timeline.show(event)
    timeline.close()


def cancel(context: Context) -> None:
    body = given(context.args, "reason")
    show_one(context, RUN, context.client.request("POST", path("runs", context.args.run_id, "cancel"), body))


def retry(context: Context) -> int:
    args = context.args
    body: dict[str, object] = {}
    if args.content is not None:
        body["content"] = read_text(context, args.content, what="input")
    return send(context, path("runs", args.run_id, "retry"), body)


COMMANDS = (
    Command(
        noun="runs",
        verb="create",
        aliases=("submit",),
        help="give a session work; answers at once",
        run=submit,
        arguments=(SESSION_ID, *SUBMIT_ARGUMENTS),
    ),
    Command(
        noun="runs",
        verb="list",
        help="list runs",
        run=list_runs,
        arguments=(
            arg("--session-id", metavar="SESSION", help="of this session"),
            arg("--status", metavar="STATUS", help="queued, running, waiting_for_approval, completed, …"),
            *PAGING,
        ),
    ),
    Command(
        noun="runs", verb="get", help="show one run, and what it waits for", run=get, arguments=(RUN_ID,)
    ),
    Command(
        noun="runs",
        verb="export",
        help="write a run as one document, to be kept and checked elsewhere",
        run=export,
        arguments=(
            RUN_ID,
            arg("--output", "-o", metavar="FILE", help="the file (default: standard output)"),
            arg("--unredacted", action="store_true", help="with exact arguments and results; recorded"),
            REASON,
        ),
    ),
    Command(
        noun="runs",
        verb="external-actions",
        help="list the signed records of what a run sent out",
        run=external_actions,
        arguments=(RUN_ID, *PAGING),
    ),
    Command(noun="runs", verb="why", help="say why a run does not move", run=why, arguments=(RUN_ID,)),
    Command(
        noun="runs",
        verb="watch",
        help="follow a run to its end, from the start",
        run=watch,
        arguments=(RUN_ID, CURSOR, DELTAS, TIMEOUT, EXIT_ON_WAIT, EXIT_STATUS),
    ),
    Command(
        noun="runs",
        verb="wait",
        help="wait for the end of a run, then print its outputs",
        run=wait,
        arguments=(RUN_ID, TIMEOUT, EXIT_ON_WAIT, EXIT_STATUS),
    ),
    Command(
        noun="runs",
        verb="events",
        help="print the journal of a run",
        run=events,
        arguments=(RUN_ID, FOLLOW, DELTAS, *EVENT_LIST),
    ),
    Command(
        noun="runs",
        verb="stream",
        help="the entries of a run as they come, to its end",
        run=stream,
        arguments=(RUN_ID, CURSOR, DELTAS),
    ),
    Command(noun="runs", verb="cancel", help="cancel a run", run=cancel, arguments=(RUN_ID, REASON)),
    Command(
        noun="runs",
        verb="retry",
        help="give the input of a run that has ended to its session again",
        run=retry,
        arguments=(
            RUN_ID,
            arg("--content", metavar="TEXT", help="another input instead; `-` reads standard input"),
            *WATCHING,
            IDEMPOTENCY_KEY,
        ),
    ),
)
