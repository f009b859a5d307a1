"""`search`: find a run, a session or anything else by id, by a name other systems know it by, or by words."""

from __future__ import annotations

from kheish_site.cli.client import path
from kheish_site.cli.command import Command, Context, arg, count
from kheish_site.cli.resources import HIT


def search(context: Context) -> None:
    """A table of what was found; nothing found is no failure."""
    args = context.args
    found = context.client.get(path("search"), query={"q": args.text, "limit": min(args.limit, 50)})
    if context.out.mode == "json":
        context.out.document(found)
        return
    items = found["items"]
    if context.out.mode == "quiet":
        for item in items:
            context.out.line(str(item["id"]))
        return
    if not items:
        words = f"Nothing found. Words are looked for in the newest {found['text_window']} runs and sessions."
        context.out.word(words, "dim")
        return
    context.out.table([title for title, _ in HIT.columns], [HIT.row(item) for item in items])
    if found["more"]:
        context.out.word("There is more: say more of it, or raise --limit (at most 50).", "dim")


COMMANDS = (
    Command(
        noun="search",
        verb="",
        help="find anything by id, outside name or words",
        run=search,
        arguments=(
            arg("text", metavar="TEXT", help="an id or its beginning, an event key, a platform's id, words"),
            arg("--limit", metavar="N", type=count, default=20, help="how many to show (default 20)"),
        ),
    ),
)
