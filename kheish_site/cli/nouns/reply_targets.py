"""`sessions reply-targets`: where the answers of a session's future runs go."""

from __future__ import annotations

from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import Command, Context, arg, parse_json
from kheish_site.cli.exits import UsageError
from kheish_site.cli.nouns.sessions import SESSION_ID


def show(context: Context) -> None:
    _print(context, context.client.get(_address(context)))


def add(context: Context) -> None:
    body = {"reply_targets": _handles(context)}
    _print(context, context.client.request("POST", _address(context), body))


def replace(context: Context) -> None:
    body: dict[str, Any] = {"reply_targets": _handles(context)}
    if context.args.pin is not None:
        body["pinned"] = context.args.pin
    _print(context, context.client.change(_address(context), body))


def clear(context: Context) -> None:
    _print(context, context.client.change(_address(context), None, method="DELETE"))


def _address(context: Context) -> str:
    return path("sessions", context.args.session_id, "reply-targets")


def _handles(context: Context) -> list[Any]:
    return [_handle(text) for text in context.args.handle]


def _handle(text: str) -> Any:
    """A URL is short for an http target; everything else is a JSON object."""
    if text.startswith(("http:", "https:")):
        return {"type": "http", "url": text}
    if not text.lstrip().startswith("{"):
        raise UsageError(
            f"{text!r} is neither a URL nor a JSON object",
            cure='Write https://…, or an object with its type, as in \'{"type": "slack", …}\'.',
        )
    return parse_json(text, what=text)


def _print(context: Context, answer: Any) -> None:
    if context.out.mode == "json":
        context.out.document(answer)
    elif context.out.mode == "quiet":
        context.out.line(str(answer["session_id"]))
    else:
        context.out.record(answer)


HANDLE = arg("handle", metavar="HANDLE", nargs="+", help='a URL, or JSON such as {"type": "slack", …}')

COMMANDS = (
    Command(
        noun="sessions",
        verb="reply-targets show",
        help="show where answers go",
        run=show,
        arguments=(SESSION_ID,),
    ),
    Command(
        noun="sessions",
        verb="reply-targets add",
        help="add where answers go",
        run=add,
        arguments=(SESSION_ID, HANDLE),
    ),
    Command(
        noun="sessions",
        verb="reply-targets set",
        help="replace where answers go",
        run=replace,
        arguments=(
            SESSION_ID,
            HANDLE,
            arg("--pin", action="store_true", default=None, help="connectors may not change them"),
            arg("--unpin", dest="pin", action="store_false", default=None, help="connectors may"),
        ),
    ),
    Command(
        noun="sessions",
        verb="reply-targets clear",
        help="send answers nowhere",
        run=clear,
        arguments=(SESSION_ID,),
    ),
)
