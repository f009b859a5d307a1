"""`deliveries`: what leaves for the outside, what did not arrive, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import (
    BY_OWNER,
    PAGING,
    REASON,
    YES,
    Argument,
    Command,
    Context,
    arg,
    declined,
    given,
)
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.resources import DELIVERY, TARGET, show_list, show_one

OUTCOMES = ("happened", "not_happened", "give_up")


def list_deliveries(context: Context) -> None:
    query = given(context.args, "session_id", "run_id", "plugin", "target", "status")
    if context.args.unresolved:
        query["unresolved"] = True
    show_list(context, DELIVERY, path("deliveries"), query)


def get(context: Context) -> None:
    item = context.client.get(path("deliveries", context.args.delivery_id))
    show_one(context, DELIVERY, item)
    if context.out.mode == "human" and item.get("status") == "unknown":
        command = context.command(f"deliveries decide {item['delivery_id']} {'|'.join(OUTCOMES)}")
        context.out.word(f"Look at the target, then: {command}", "dim")


def replay(context: Context) -> None:
    _post(context, "replay", {"force": context.args.force})


def resolve(context: Context) -> None:
    _post(context, "resolve", given(context.args, "reason"))


def decide(context: Context) -> None:
    _post(context, "decide", given(context.args, "outcome", "reason"))


def _post(context: Context, verb: str, body: dict[str, Any]) -> None:
    address = path("deliveries", context.args.delivery_id, verb)
    show_one(context, DELIVERY, context.client.request("POST", address, body))


def replay_bulk(context: Context) -> int:
    args = context.args
    if not (args.session_id or args.run_id or args.plugin or args.target or args.everything or args.dry_run):
        raise UsageError(
            "of what?", cure="Give --session-id, --run-id, --plugin, --target or --everything; or --dry-run."
        )
    body = given(args, "session_id", "run_id", "plugin", "target", "limit")
    body |= {"dry_run": args.dry_run, "force": args.force, "unresolved_only": not args.resolved_too}
    if not args.dry_run and context.interactive and not context.confirm("Send them all again?"):
        return declined(context)
    answer = context.client.request("POST", path("deliveries", "replay-bulk"), body)
    if context.out.mode == "json":
        context.out.document(answer)
        return Exit.OK
    for item in answer["items"]:
        if context.out.mode == "quiet":
            context.out.line(str(item.get("replay_delivery_id") or item["delivery_id"]))
        else:
            context.out.line(f"{item['delivery_id']}  {item['action']}  {item.get('replay_delivery_id', '')}")
    if not answer["items"]:
        context.out.word("There is no such dead letter.", "dim")
    return Exit.OK


def list_targets(context: Context) -> None:
    query, shown = given(context.args, "plugin", "connector"), TARGET
    if context.args.waiting:
        query["waiting"] = True
        shown = replace(TARGET, empty="Nothing waits for a target.")
    show_list(context, shown, path("delivery-targets"), query)


def switch(context: Context) -> None:
    verb = context.args.command.verb
    answer = context.client.request("POST", path("delivery-targets", context.args.digest, verb), {})
    show_one(context, TARGET, answer)


DELIVERY_ID = arg("delivery_id", metavar="DELIVERY", help="id of the delivery")
DIGEST = arg("digest", metavar="TARGET", help="digest or shown name of the target")
NARROW: tuple[Argument, ...] = (
    *BY_OWNER,
    arg("--plugin", metavar="PLUGIN", help="through this plugin: http, slack, telegram, external"),
    arg("--target", metavar="TARGET", help="to this target"),
)
FORCE = arg("--force", action="store_true", help="also when there is a replay already")

COMMANDS = (
    Command(
        noun="deliveries",
        verb="list",
        help="list deliveries",
        run=list_deliveries,
        arguments=(
            *NARROW,
            arg("--status", metavar="STATUS", help="pending, sending, retrying, delivered, dead_lettered, …"),
            arg("--unresolved", action="store_true", help="only what nobody has dealt with"),
            *PAGING,
        ),
    ),
    Command(
        noun="deliveries", verb="get", help="show one with what it says", run=get, arguments=(DELIVERY_ID,)
    ),
    Command(
        noun="deliveries",
        verb="replay",
        help="send a dead letter again",
        run=replay,
        arguments=(DELIVERY_ID, FORCE),
    ),
    Command(
        noun="deliveries",
        verb="resolve",
        help="say that a dead letter needs no more attention",
        run=resolve,
        arguments=(DELIVERY_ID, REASON),
    ),
    Command(
        noun="deliveries",
        verb="decide",
        help="say whether a delivery in doubt arrived",
        run=decide,
        arguments=(
            DELIVERY_ID,
            arg(
                "outcome",
                metavar="OUTCOME",
                choices=OUTCOMES,
                type=lambda text: text.replace("-", "_"),
                help="happened; not_happened (send it again); give_up",
            ),
            REASON,
        ),
    ),
    Command(
        noun="deliveries",
        verb="replay-bulk",
        help="send many dead letters again",
        run=replay_bulk,
        arguments=(
            *NARROW,
            arg("--everything", action="store_true", help="of every session, to every target"),
            arg("--limit", type=int, metavar="N", help="at most so many (default 100, most 500)"),
            arg("--dry-run", action="store_true", help="only say what would happen"),
            arg("--resolved-too", action="store_true", help="also what was dealt with"),
            FORCE,
            YES,
        ),
    ),
    Command(
        noun="deliveries",
        verb="targets",
        help="list the targets and their queues",
        run=list_targets,
        arguments=(
            arg("--plugin", metavar="PLUGIN", help="of this plugin"),
            arg("--connector", metavar="NAME", help="through this connector"),
            arg("--waiting", action="store_true", help="only those for which something waits"),
            *PAGING,
        ),
    ),
    Command(
        noun="deliveries", verb="pause", help="send nothing more to a target", run=switch, arguments=(DIGEST,)
    ),
    Command(noun="deliveries", verb="resume", help="send to a target again", run=switch, arguments=(DIGEST,)),
)
