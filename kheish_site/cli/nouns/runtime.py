"""`runtime`: settings of the service, and dry runs of its permission rules."""

from __future__ import annotations

from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import Command, Context, arg, given, parse_json, read_text
from kheish_site.cli.exits import UsageError
from kheish_site.cli.nouns.sessions import MODES


def get(context: Context) -> None:
    _show(context, context.client.get(path("runtime")))


def set_model(context: Context) -> None:
    body = given(context.args, "route_id", "model")
    if not body:
        raise UsageError("give --route, --model or both")
    _change(context, "model", body)


def set_permission_mode(context: Context) -> None:
    _change(context, "permission-mode", {"mode": context.args.mode})


def set_system_prompt(context: Context) -> None:
    """The text becomes the whole prompt: settings that are not sent become empty."""
    args = context.args
    settings = {} if args.clear else {"custom_prompt": read_text(context, args.text, what="system prompt")}
    _change(context, "system-prompt", {"settings": settings})


def check(context: Context) -> None:
    """Explain what would be decided about one call; nothing is decided."""
    args = context.args
    body = given(args, "tool_name", "session_id", mode_override="mode")
    body["input"] = parse_json(args.input, what="--input")
    _show(context, context.client.request("POST", path("runtime", "permissions", "check"), body))


def matrix(context: Context) -> None:
    """Every tool in every mode."""
    answer = context.client.request(
        "POST", path("runtime", "permissions", "matrix"), given(context.args, "session_id")
    )
    if context.out.mode != "human":
        _show(context, answer)
        return
    tools: dict[str, dict[str, dict[str, Any]]] = answer["tools"]
    modes = list(dict.fromkeys(mode for decisions in tools.values() for mode in decisions))
    rows = [[tool, *(_decision(decisions.get(mode)) for mode in modes)] for tool, decisions in tools.items()]
    context.out.table(["TOOL", *modes], rows)


def _decision(explained: dict[str, Any] | None) -> str:
    return str(explained["decision"]) if explained else ""


def _change(context: Context, setting: str, body: dict[str, Any]) -> None:
    """Revisioned: refused with 409 when somebody else changed the settings in between."""
    config = context.client.get(path("runtime")).get("config") or {}
    expected = {"expected_revision": config["revision"]} if "revision" in config else {}
    _show(context, context.client.request("POST", path("runtime", setting), body | expected))


def _show(context: Context, value: Any) -> None:
    if context.out.mode == "json" or not isinstance(value, dict):
        context.out.document(value)
        return
    context.out.record(value)


SESSION = arg("--session-id", metavar="SESSION", help="with the rules and mode of this session")

COMMANDS = (
    Command(noun="runtime", verb="get", help="show the settings of the service", run=get),
    Command(
        noun="runtime",
        verb="set-model",
        help="choose the default route or model",
        run=set_model,
        arguments=(
            arg("--route", dest="route_id", metavar="ROUTE", help="default route"),
            arg("--model", metavar="MODEL", help="default model"),
        ),
    ),
    Command(
        noun="runtime",
        verb="set-permission-mode",
        help="choose how tools are allowed",
        run=set_permission_mode,
        arguments=(arg("mode", choices=MODES, help="default mode of every session"),),
    ),
    Command(
        noun="runtime",
        verb="set-system-prompt",
        help="write the system prompt, in place of all its parts",
        run=set_system_prompt,
        arguments=(
            arg("text", metavar="TEXT", nargs="?", help="the prompt; `-` or a pipe reads standard input"),
            arg("--clear", action="store_true", help="none"),
        ),
    ),
    Command(
        noun="runtime",
        verb="permissions check",
        help="what would be decided about one call, and why",
        run=check,
        arguments=(
            arg("tool_name", metavar="TOOL", help="name of the tool"),
            arg("--input", metavar="JSON", default="{}", help="arguments of the call"),
            SESSION,
            arg("--mode", choices=MODES, help="as if this mode held"),
        ),
    ),
    Command(
        noun="runtime",
        verb="permissions matrix",
        help="what every mode decides about every tool",
        run=matrix,
        arguments=(SESSION,),
    ),
)
