"""Submitting work, shared by `sessions input`, `runs create` and `runs retry`."""

from __future__ import annotations

from kheish_site.cli.client import path
from kheish_site.cli.command import (
    DELTAS,
    EXIT_ON_WAIT,
    EXIT_STATUS,
    TIMEOUT,
    Context,
    arg,
    assignments,
    given,
    read_text,
)
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.nouns.assets import send_file
from kheish_site.cli.resources import RUN, show_one
from kheish_site.cli.text import one_line
from kheish_site.cli.watch import watch_run

WATCHING = (
    arg("--follow", "-f", action="store_true", help="print what happens until the run ends"),
    arg("--wait", action="store_true", help="wait until the run ends, then print its outputs"),
    TIMEOUT,
    EXIT_ON_WAIT,
    EXIT_STATUS,
    DELTAS,
)
IDEMPOTENCY_KEY = arg("--idempotency-key", metavar="KEY", help="the same key twice gives the same run")
SUBMIT_ARGUMENTS = (
    arg("content", metavar="TEXT", nargs="?", help="what to do; `-` or a pipe reads standard input"),
    *WATCHING,
    arg("--route", dest="route_id", metavar="ROUTE", help="route for this run"),
    arg("--model", metavar="MODEL", help="model for this run"),
    arg("--attach", metavar="FILE", action="append", help="upload a file and attach it; may be repeated"),
    arg("--metadata", metavar="KEY=JSON", action="append", help="data to keep with the run; may be repeated"),
    arg("--actor-id", metavar="ID", help="on whose behalf"),
    IDEMPOTENCY_KEY,
)


def submit(context: Context) -> int:
    args = context.args
    body: dict[str, object] = given(args, "route_id", "model", "actor_id")
    if args.content is not None or not args.attach:
        body["content"] = read_text(context, args.content, what="input")
    if not args.attach and not str(body["content"]).strip():
        raise UsageError("the input is empty")
    if args.metadata:
        body["metadata"] = assignments(args.metadata, what="--metadata")
    if args.attach:
        sent = [send_file(context.client, name) for name in args.attach]
        body["attachments"] = [{"asset_id": asset["asset_id"]} for asset in sent]
    return send(context, path("sessions", args.session_id, "runs"), body)


def send(context: Context, target: str, body: dict[str, object]) -> int:
    """Submit and return at once, or follow, or wait. Waiting flags alone mean --wait."""
    args = context.args
    follows = args.follow or args.wait or args.exit_on_wait or args.exit_status or args.timeout is not None
    headers = {"Idempotency-Key": args.idempotency_key} if args.idempotency_key else {}
    run = context.client.exchange("POST", target, body, headers=headers).body
    if not follows:
        _accepted(context, run)
        return Exit.OK
    if context.out.mode == "human":
        context.out.word(f"{run['run_id']} {one_line(run.get('status'))}", "dim")
    return watch_run(context, run["run_id"], show=args.follow)


def _accepted(context: Context, run: dict[str, object]) -> None:
    if context.out.mode != "human":
        show_one(context, RUN, run)
        return
    position = run.get("queued_position")
    context.out.line(str(run["run_id"]))
    context.out.word(f"{run.get('status')}{f', place {position}' if position else ''}", "dim")
    watch = context.command(f"runs watch {run['run_id']}")
    context.out.word(f"Watch it: {watch}", "dim")
