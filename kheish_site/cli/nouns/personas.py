"""`personas`: who an agent is. An edit adds a revision; bound sessions keep theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, Command, Context, arg, assignments, given, parse_json, read_file
from kheish_site.cli.exits import UsageError
from kheish_site.cli.resources import PERSONA, show_list, show_one

MARKDOWN = (".md", ".markdown")


def list_personas(context: Context) -> None:
    show_list(context, PERSONA, path("personas"), given(context.args, "query"))


def get(context: Context) -> None:
    show_one(context, PERSONA, context.client.get(path("personas", context.args.persona_id)))


def create(context: Context) -> None:
    body = _fields(context)
    if "soul" not in body:
        raise UsageError("a persona needs a soul", cure="Give --soul TEXT or --soul-file FILE.")
    body.setdefault("display_name", context.args.persona_id)
    _post(context, {"persona_id": context.args.persona_id, **body})


def import_file(context: Context) -> None:
    """The file is the soul; the name is --name, the first heading, or the file's name."""
    file = Path(context.args.file)
    if file.suffix.lower() not in MARKDOWN:
        raise UsageError(f"{file} is not Markdown", cure="It should end in .md or .markdown.")
    soul = read_file(str(file))
    name = context.args.display_name or first_heading(soul) or file.stem
    _post(
        context,
        {
            "persona_id": context.args.persona_id or slug(file.stem),
            "soul": soul,
            **_fields(context),
            "display_name": name,
        },
    )


def update(context: Context) -> None:
    body = _fields(context)
    if not body:
        raise UsageError("nothing to change", cure="See: personas update --help")
    show_one(context, PERSONA, context.client.change(path("personas", context.args.persona_id), body))


def first_heading(text: str) -> str:
    """The text of the first Markdown heading, or nothing."""
    for line in text.splitlines():
        if line.startswith("#") and line.lstrip("#").startswith(" "):
            return line.lstrip("#").strip()
    return ""


def slug(text: str) -> str:
    """A persona id from a file name: lower case letters, digits and dashes."""
    parts = "".join(character if character.isalnum() else " " for character in text.casefold()).split()
    return "-".join(parts) or "persona"


def _post(context: Context, body: dict[str, Any]) -> None:
    show_one(context, PERSONA, context.client.request("POST", path("personas"), body))


def _fields(context: Context) -> dict[str, Any]:
    args = context.args
    body = given(args, "display_name", "owner", "soul")
    if args.soul_file:
        body["soul"] = context.stdin.read() if args.soul_file == "-" else read_file(args.soul_file)
    if args.capability_scope:
        body["capability_scope"] = parse_json(args.capability_scope, what="--capability-scope")
    if args.skill:
        body["default_skills"] = args.skill
    if args.metadata:
        body["metadata"] = assignments(args.metadata, what="--metadata")
    return body


PERSONA_ID = arg("persona_id", metavar="PERSONA", help="id of the persona")
FIELDS = (
    arg("--name", dest="display_name", metavar="NAME", help="name shown to people"),
    arg("--owner", metavar="NAME", help="who answers for it"),
    arg("--soul", metavar="TEXT", help="what it is and how it behaves"),
    arg("--soul-file", metavar="FILE", help="the same, from a file or - for standard input"),
    arg("--capability-scope", metavar="JSON", help="what it may see, as an object"),
    arg("--skill", metavar="NAME", action="append", help="a default skill; may be repeated"),
    arg("--metadata", metavar="KEY=JSON", action="append", help="data to keep with it; may be repeated"),
)

COMMANDS = (
    Command(
        noun="personas",
        verb="list",
        help="list personas",
        run=list_personas,
        arguments=(arg("--query", metavar="TEXT", help="with this in the name"), *PAGING),
    ),
    Command(
        noun="personas",
        verb="get",
        help="show one persona with its revisions",
        run=get,
        arguments=(PERSONA_ID,),
    ),
    Command(
        noun="personas", verb="create", help="make a persona", run=create, arguments=(PERSONA_ID, *FIELDS)
    ),
    Command(
        noun="personas",
        verb="import",
        help="make a persona from a Markdown file",
        run=import_file,
        arguments=(
            arg("file", metavar="FILE", help="the soul, as Markdown"),
            arg("--id", dest="persona_id", metavar="PERSONA", help="id (default: from the file name)"),
            *FIELDS,
        ),
    ),
    Command(
        noun="personas", verb="update", help="add a revision", run=update, arguments=(PERSONA_ID, *FIELDS)
    ),
)
