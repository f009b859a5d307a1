"""`identities`: which people of a platform may decide by its buttons, and as whom."""

from __future__ import annotations

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, YES, Command, Context, arg, declined, given
from kheish_site.cli.exits import Exit
from kheish_site.cli.resources import IDENTITY, show_gone, show_list, show_one


def list_identities(context: Context) -> None:
    show_list(context, IDENTITY, _of(context))


def set_identity(context: Context) -> None:
    body = given(context.args, "principal", "role")
    show_one(context, IDENTITY, context.client.request("PUT", _of(context, context.args.external_id), body))


def delete(context: Context) -> int:
    args, person = context.args, context.args.external_id
    if context.interactive and not context.confirm(f"Forget {person}? Their buttons decide nothing then."):
        return declined(context)
    context.client.request("DELETE", _of(context, person))
    show_gone(context, "deleted", kind=args.kind, name=args.name, external_id=person)
    return Exit.OK


def _of(context: Context, *more: str) -> str:
    return path("runtime", "connectors", context.args.kind, context.args.name, "identities", *more)


CONNECTOR = (
    arg("kind", metavar="KIND", help="kind of the connector: slack, telegram, external"),
    arg("name", metavar="NAME", help="name of the connector"),
)
PERSON = arg("external_id", metavar="PERSON", help="the id by which the platform knows them")

COMMANDS = (
    Command(
        noun="identities",
        verb="list",
        help="list the mapped people of a connector",
        run=list_identities,
        arguments=(*CONNECTOR, *PAGING),
    ),
    Command(
        noun="identities",
        verb="set",
        help="let a person of the platform act as an account or a token",
        run=set_identity,
        arguments=(
            *CONNECTOR,
            PERSON,
            arg("principal", metavar="PRINCIPAL", help="name of the account or the token"),
            arg(
                "--role",
                choices=("viewer", "operator", "admin"),
                default="operator",
                help="the most they may do in the chat (default operator)",
            ),
        ),
    ),
    Command(
        noun="identities",
        verb="delete",
        help="forget a person",
        run=delete,
        arguments=(*CONNECTOR, PERSON, YES),
    ),
)
