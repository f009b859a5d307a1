"""`secrets`: slots whose value is written and never read back."""

from __future__ import annotations

import getpass

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, YES, Command, Context, arg, declined, read_file
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.resources import SECRET, show_gone, show_list, show_one


def list_secrets(context: Context) -> None:
    show_list(context, SECRET, path("runtime", "secrets"))


def set_secret(context: Context) -> None:
    args = context.args
    body = {"slot_id": args.slot_id, "provider": args.provider, "value": _value(context)}
    show_one(context, SECRET, context.client.request("POST", path("runtime", "secrets"), body))


def delete(context: Context) -> int:
    slot_id = context.args.slot_id
    if context.interactive and not context.confirm(f"Delete the secret {slot_id}?"):
        return declined(context)
    context.client.request("DELETE", path("runtime", "secrets", slot_id))
    show_gone(context, "deleted", slot_id=slot_id)
    return Exit.OK


def _value(context: Context) -> str:
    """From a file, a prompt without echo, or a pipe: an argument would show in the process list."""
    if context.args.value_file:
        value = read_file(context.args.value_file)
    elif context.interactive:
        value = getpass.getpass(f"Value of {context.args.slot_id} (not shown): ", stream=context.out.stderr)
    elif context.stdin.isatty():
        raise UsageError("no value given", cure="Pipe it in, or give --value-file.")
    else:
        value = context.stdin.read()
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise UsageError("the value is empty")
    return value


SLOT = arg("slot_id", metavar="SLOT", help="name of the slot")

COMMANDS = (
    Command(
        noun="secrets",
        verb="list",
        help="list slots; values are never shown",
        run=list_secrets,
        arguments=PAGING,
    ),
    Command(
        noun="secrets",
        verb="set",
        help="fill a slot from a prompt, a pipe or a file",
        run=set_secret,
        arguments=(
            SLOT,
            arg("--provider", metavar="NAME", default="openai", help="whom it is for (default openai)"),
            arg("--value-file", metavar="FILE", help="read the value from this file"),
        ),
    ),
    Command(noun="secrets", verb="delete", help="delete a slot", run=delete, arguments=(SLOT, YES)),
)
