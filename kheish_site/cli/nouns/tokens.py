"""`tokens`: who may speak to the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, YES, Command, Context, arg, count, declined
from kheish_site.cli.exits import Exit
from kheish_site.cli.resources import TOKEN, show_gone, show_list, show_one


def list_tokens(context: Context) -> None:
    show_list(context, TOKEN, path("tokens"))


def create(context: Context) -> None:
    """The token itself is all that goes to standard output, so that a script can keep it."""
    args = context.args
    body: dict[str, Any] = {"name": args.name, "role": args.role}
    if args.right:
        body["rights"] = args.right
    if args.expires_in_days:
        moment = datetime.now(UTC) + timedelta(days=args.expires_in_days)
        body["expires_at"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    made = context.client.request("POST", path("tokens"), body)
    if context.out.mode != "human":
        show_one(context, TOKEN, made)
        return
    context.out.word(f"{made['token_id']} for {args.name}, role {args.role}. It is shown this once:", "dim")
    context.out.line(str(made["token"]))


def revoke(context: Context) -> int:
    token_id = context.args.token_id
    if context.interactive and not context.confirm(f"Revoke {token_id}? Whoever uses it is locked out."):
        return declined(context)
    context.client.request("DELETE", path("tokens", token_id))
    show_gone(context, "revoked", token_id=token_id)
    return Exit.OK


COMMANDS = (
    Command(
        noun="tokens",
        verb="list",
        help="list tokens; the tokens themselves are not kept",
        run=list_tokens,
        arguments=PAGING,
    ),
    Command(
        noun="tokens",
        verb="create",
        help="make a token and show it once",
        run=create,
        arguments=(
            arg("name", metavar="NAME", help="what it is for"),
            arg(
                "--role",
                choices=("viewer", "operator", "admin"),
                default="operator",
                help="what it may do (default operator)",
            ),
            arg(
                "--right",
                action="append",
                choices=("decide_high_risk", "view_unredacted"),
                help="what an operator's token may do beside its role; may be given more than once",
            ),
            arg("--expires-in-days", metavar="N", type=count, help="days until it expires"),
        ),
    ),
    Command(
        noun="tokens",
        verb="revoke",
        help="revoke a token",
        run=revoke,
        arguments=(arg("token_id", metavar="TOKEN", help="id of the token"), YES),
    ),
)
