"""`decisions`: effects nobody can know about, for a person to settle."""

from __future__ import annotations

from kheish_site.cli.client import path
from kheish_site.cli.command import BY_OWNER, PAGING, Command, Context, arg, given, listed, read_file
from kheish_site.cli.resources import DECISION, show_list, show_one

OUTCOMES = ("happened", "not_happened", "tell_agent", "give_up")


def list_decisions(context: Context) -> None:
    show_list(context, DECISION, path("decisions"), listed(context.args))


def get(context: Context) -> None:
    item = context.client.get(path("decisions", context.args.decision_id))
    show_one(context, DECISION, item)
    if context.out.mode == "human" and item.get("status") == "pending":
        command = context.command(f"decisions decide {item['decision_id']} {'|'.join(OUTCOMES)}")
        context.out.word(f"Decide: {command}", "dim")


def decide(context: Context) -> None:
    args = context.args
    body = given(args, "outcome", "note", "result")
    if args.result_file:
        body["result"] = read_file(args.result_file)
    show_one(
        context,
        DECISION,
        context.client.request("POST", path("decisions", args.decision_id, "resolve"), body),
    )


DECISION_ID = arg("decision_id", metavar="DECISION", help="id of the decision")

COMMANDS = (
    Command(
        noun="decisions",
        verb="list",
        help="list effects in doubt",
        run=list_decisions,
        arguments=(
            *BY_OWNER,
            arg(
                "--status",
                default="pending",
                metavar="STATUS",
                help="pending (default), resolved or all",
            ),
            *PAGING,
        ),
    ),
    Command(
        noun="decisions",
        verb="get",
        help="show one with the call and its partial output",
        run=get,
        arguments=(DECISION_ID,),
    ),
    Command(
        noun="decisions",
        verb="decide",
        help="say what happened, and the run goes on",
        run=decide,
        arguments=(
            DECISION_ID,
            arg(
                "outcome",
                metavar="OUTCOME",
                choices=OUTCOMES,
                type=lambda text: text.replace("-", "_"),
                help="happened; not_happened (run it); tell_agent; give_up",
            ),
            arg("--note", metavar="TEXT", help="why, for the record"),
            arg("--result", metavar="TEXT", help="with happened: what the call returned"),
            arg("--result-file", metavar="FILE", help="the same, from a file"),
        ),
    ),
)
