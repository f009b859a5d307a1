"""`observations sources` and `schedules`: who sends captures, and who looks at them how often."""

from __future__ import annotations

from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, YES, Command, Context, arg, count, declined, given
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.resources import OBSERVATION_SCHEDULE, OBSERVATION_SOURCE, show_gone, show_list, show_one

KINDS = ("screen_snapshot", "webcam_snapshot", "microphone_segment", "text_snapshot", "document")
NUMBERS = ("retention_days", "retention_count", "retention_bytes", "burst_count", "burst_seconds")
FLAGS = ("sensitive", "allow_raw_purge", "allow_materialization", "allow_output_delivery", "enabled")
ROOT = "observation-sources"


def list_sources(context: Context) -> None:
    show_list(context, OBSERVATION_SOURCE, path(ROOT))


def get(context: Context) -> None:
    show_one(context, OBSERVATION_SOURCE, context.client.get(path(ROOT, context.args.source_id)))


def create(context: Context) -> None:
    """The upload token itself is all that goes to standard output, so that a script can keep it."""
    args = context.args
    body = {"source_id": args.source_id, "kind": args.kind, **_fields(context)}
    _show_token(context, context.client.request("POST", path(ROOT), body))


def update(context: Context) -> None:
    body = _fields(context)
    if not body:
        raise UsageError("nothing to change", cure="See: observations sources update --help")
    changed = context.client.change(path(ROOT, context.args.source_id), body)
    show_one(context, OBSERVATION_SOURCE, changed)


def delete(context: Context) -> int:
    source_id = context.args.source_id
    question = f"Delete the source {source_id}, its schedules and everything it has sent?"
    if context.interactive and not context.confirm(question):
        return declined(context)
    context.client.change(path(ROOT, source_id), None, method="DELETE")
    show_gone(context, "deleted", source_id=source_id)
    return Exit.OK


def rotate(context: Context) -> None:
    args = context.args
    body = {"grace_period_ms": args.grace_seconds * 1000} if args.grace_seconds else {}
    _show_token(context, context.client.request("POST", path(ROOT, args.source_id, "rotate-token"), body))


def revoke(context: Context) -> int:
    source_id = context.args.source_id
    if context.interactive and not context.confirm(f"End every upload token of {source_id}?"):
        return declined(context)
    ended = context.client.request("POST", path(ROOT, source_id, "revoke-token"), {})
    show_one(context, OBSERVATION_SOURCE, ended)
    return Exit.OK


def list_schedules(context: Context) -> None:
    show_list(context, OBSERVATION_SCHEDULE, path(ROOT, context.args.source_id, "schedules"))


def create_schedule(context: Context) -> None:
    args = context.args
    body = given(args, "session_id", "prompt", "interval_seconds", "stream_id", "max_observations")
    made = context.client.request("POST", path(ROOT, args.source_id, "schedules"), body)
    show_one(context, OBSERVATION_SCHEDULE, made)


def delete_schedule(context: Context) -> int:
    args = context.args
    if context.interactive and not context.confirm(f"Delete the schedule {args.schedule_id}?"):
        return declined(context)
    context.client.request("DELETE", path(ROOT, args.source_id, "schedules", args.schedule_id))
    show_gone(context, "deleted", source_id=args.source_id, schedule_id=args.schedule_id)
    return Exit.OK


def _fields(context: Context) -> dict[str, Any]:
    said = given(context.args, *NUMBERS, *FLAGS)
    return {name: value == "yes" if name in FLAGS else value for name, value in said.items()}


def _show_token(context: Context, made: dict[str, Any]) -> None:
    if context.out.mode != "human":
        show_one(context, OBSERVATION_SOURCE, made)
        return
    context.out.word(f"The upload token of {made['source_id']}. It is shown this once:", "dim")
    context.out.line(str(made["token"]))


SOURCE_ID = arg("source_id", metavar="SOURCE", help="id of the source")
FIELDS = (
    arg("--retention-days", metavar="N", type=count, help="how long observations are kept (default 7)"),
    arg("--retention-count", metavar="N", type=count, help="how many are kept (default 512)"),
    arg("--retention-bytes", metavar="N", type=count, help="how much is kept (default 512 MiB)"),
    arg("--burst-count", metavar="N", type=count, help="uploads taken in a window (default 120)"),
    arg("--burst-seconds", metavar="N", type=count, help="the window (default 60)"),
    arg("--sensitive", choices=("yes", "no"), help="hide facts from viewers (default yes)"),
    arg("--allow-raw-purge", choices=("yes", "no"), help="let admins purge early (default no)"),
    arg("--allow-materialization", choices=("yes", "no"), help="let agents see them (default yes)"),
    arg("--allow-output-delivery", choices=("yes", "no"), help="let answers leave (default no)"),
    arg("--enabled", choices=("yes", "no"), help="take uploads (default yes)"),
)
SOURCE_COMMANDS = (
    Command(
        noun="observations",
        verb="sources list",
        help="list who sends captures",
        run=list_sources,
        arguments=PAGING,
    ),
    Command(noun="observations", verb="sources get", help="show one source", run=get, arguments=(SOURCE_ID,)),
    Command(
        noun="observations",
        verb="sources create",
        help="make a source and show its upload token once",
        run=create,
        arguments=(SOURCE_ID, arg("--kind", choices=KINDS, required=True, help="what it records"), *FIELDS),
    ),
    Command(
        noun="observations",
        verb="sources update",
        help="change a source",
        run=update,
        arguments=(SOURCE_ID, *FIELDS),
    ),
    Command(
        noun="observations",
        verb="sources delete",
        help="delete a source with everything it has sent",
        run=delete,
        arguments=(SOURCE_ID, YES),
    ),
    Command(
        noun="observations",
        verb="sources rotate-token",
        help="make a new upload token and show it once",
        run=rotate,
        arguments=(
            SOURCE_ID,
            arg("--grace-seconds", metavar="N", type=count, help="how long the one before still holds"),
        ),
    ),
    Command(
        noun="observations",
        verb="sources revoke-token",
        help="end every upload token of a source",
        run=revoke,
        arguments=(SOURCE_ID, YES),
    ),
    Command(
        noun="observations",
        verb="schedules list",
        help="list who looks at a source how often",
        run=list_schedules,
        arguments=(SOURCE_ID, *PAGING),
    ),
    Command(
        noun="observations",
        verb="schedules create",
        help="show what is new of a source to an agent every so often",
        run=create_schedule,
        arguments=(
            SOURCE_ID,
            arg("session_id", metavar="SESSION", help="id of the session"),
            arg("prompt", metavar="TEXT", help="what the agent is asked each time"),
            arg(
                "--every-seconds",
                dest="interval_seconds",
                metavar="N",
                type=count,
                required=True,
                help="seconds between two looks, from 5",
            ),
            arg("--stream", dest="stream_id", metavar="STREAM", help="only this stream"),
            arg(
                "--max", dest="max_observations", metavar="N", type=count, help="at most so many (default 3)"
            ),
        ),
    ),
    Command(
        noun="observations",
        verb="schedules delete",
        help="delete a schedule",
        run=delete_schedule,
        arguments=(SOURCE_ID, arg("schedule_id", metavar="SCHEDULE", help="id of the schedule"), YES),
    ),
)
