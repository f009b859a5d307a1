"""`connectors`: the ways in, and the ways out that go through a platform."""

from __future__ import annotations

from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import (
    PAGING,
    YES,
    Command,
    Context,
    arg,
    assignments,
    declined,
    parse_json,
    read_file,
)
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.resources import CONNECTOR, show_gone, show_list, show_one
from kheish_site.cli.text import one_line


def list_connectors(context: Context) -> None:
    query = {"kind": context.args.kind} if context.args.kind else {}
    show_list(context, CONNECTOR, path("runtime", "connectors"), query)


def get(context: Context) -> None:
    show_one(context, CONNECTOR, context.client.get(_address(context)))


def set_connector(context: Context) -> None:
    args = context.args
    body: dict[str, Any] = {}
    if args.settings_file:
        body["settings"] = parse_json(read_file(args.settings_file), what=args.settings_file)
    if args.set:
        body["settings"] = {**body.get("settings", {}), **assignments(args.set, what="--set")}
    secrets = {field: place for text in args.secret or [] for field, place in [_secret(text)]}
    secrets |= dict.fromkeys(args.no_secret or [])
    if secrets:
        body["secrets"] = secrets
    show_one(context, CONNECTOR, context.client.request("PUT", _address(context), body))


def delete(context: Context) -> int:
    args = context.args
    if context.interactive and not context.confirm(f"Remove the connector {args.kind}/{args.name}?"):
        return declined(context)
    context.client.request("DELETE", _address(context))
    show_gone(context, "deleted", kind=args.kind, name=args.name)
    return Exit.OK


def switch(context: Context) -> None:
    verb = context.args.command.verb
    show_one(context, CONNECTOR, context.client.request("POST", f"{_address(context)}/{verb}", {}))


def test(context: Context) -> None:
    args = context.args
    body: dict[str, Any] = {"dry_run": args.dry_run}
    if args.event:
        body["event"] = parse_json(read_file(args.event), what=args.event)
    answer = context.client.request("POST", f"{_address(context)}/test", body)
    if context.out.mode == "json":
        context.out.document(answer)
    elif context.out.mode == "quiet":
        context.out.line(str(answer.get("run_id") or answer["session_id"]))
    else:
        context.out.record(answer)


def reload(context: Context) -> None:
    answer = context.client.request("POST", path("runtime", "connectors", "reload"), {})
    if context.out.mode == "json":
        context.out.document(answer)
        return
    changes = {name: answer[name] for name in ("written", "removed")}
    context.out.record({name: ", ".join(items) or "none" for name, items in changes.items()})
    if not answer.get("file"):
        context.out.word("No file is configured: KHEISH_CONNECTORS_FILE names one.", "amber")
    elif not any(changes.values()):
        words = f"{one_line(answer['file'])} is in force as it is. What a worker loaded before:"
        context.out.word(f"{words} {context.command('audit log')}", "dim")


def _address(context: Context) -> str:
    return path("runtime", "connectors", context.args.kind, context.args.name)


def _secret(text: str) -> tuple[str, dict[str, str]]:
    """`FIELD=slot:NAME`, `FIELD=env:NAME` or `FIELD=file:PATH`: a value would show in process lists."""
    field, _, place = text.partition("=")
    form, _, rest = place.partition(":")
    if not field or not rest or form not in ("slot", "env", "file"):
        raise UsageError(f"--secret wants FIELD=slot:NAME, FIELD=env:NAME or FIELD=file:PATH, not {text!r}")
    if form == "file":
        return field, {"value": read_file(rest).strip()}
    return field, {"secret_ref" if form == "slot" else "env": rest}


KIND = arg("kind", metavar="KIND", help="http, slack, telegram or external")
NAME = arg("name", metavar="NAME", help="name of the connector")
ONE = (KIND, NAME)
SWITCHES = {
    "pause": "let senders come back later (503)",
    "resume": "let a paused connector go on",
    "enable": "switch a connector on",
    "disable": "switch a connector off (409)",
}

COMMANDS = (
    Command(
        noun="connectors",
        verb="list",
        help="list connectors and what came in",
        run=list_connectors,
        arguments=(arg("--kind", metavar="KIND", help="of this kind"), *PAGING),
    ),
    Command(noun="connectors", verb="get", help="show one connector", run=get, arguments=ONE),
    Command(
        noun="connectors",
        verb="set",
        help="make a connector, or change it",
        run=set_connector,
        arguments=(
            *ONE,
            arg("--set", metavar="KEY=JSON", action="append", help="a setting; may be repeated"),
            arg("--settings-file", metavar="FILE", help="settings as a JSON object"),
            arg(
                "--secret",
                metavar="FIELD=FROM",
                action="append",
                help="where a secret comes from: slot:NAME, env:NAME or file:PATH; may be repeated",
            ),
            arg("--no-secret", metavar="FIELD", action="append", help="take a secret away"),
        ),
    ),
    Command(noun="connectors", verb="delete", help="remove a connector", run=delete, arguments=(*ONE, YES)),
    *(
        Command(noun="connectors", verb=verb, help=text, run=switch, arguments=ONE)
        for verb, text in SWITCHES.items()
    ),
    Command(
        noun="connectors",
        verb="test",
        help="send a test event the way of a real one",
        run=test,
        arguments=(
            *ONE,
            arg("--dry-run", action="store_true", help="only say where it would go"),
            arg("--event", metavar="FILE", help="what a sender would say, as JSON (http, external)"),
        ),
    ),
    Command(noun="connectors", verb="reload", help="load the connectors file again", run=reload),
)
