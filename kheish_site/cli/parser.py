"""The parser, built from one table of commands."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from kheish_site.cli.command import Argument, Command, arg, program
from kheish_site.cli.exits import MEANINGS
from kheish_site.cli.nouns import (
    approvals,
    assets,
    audit,
    connectors,
    decisions,
    deliveries,
    identities,
    observations,
    personas,
    questions,
    reply_targets,
    routes,
    runs,
    runtime,
    search,
    secrets,
    service,
    sessions,
    tasks,
    tokens,
)

COMMANDS: tuple[Command, ...] = (
    *sessions.COMMANDS,
    *reply_targets.COMMANDS,
    *runs.COMMANDS,
    *approvals.COMMANDS,
    *questions.COMMANDS,
    *decisions.COMMANDS,
    *tasks.COMMANDS,
    *assets.COMMANDS,
    *personas.COMMANDS,
    *routes.COMMANDS,
    *secrets.COMMANDS,
    *tokens.COMMANDS,
    *connectors.COMMANDS,
    *identities.COMMANDS,
    *deliveries.COMMANDS,
    *runtime.COMMANDS,
    *audit.COMMANDS,
    *observations.COMMANDS,
    *search.COMMANDS,
    *service.COMMANDS,
)

NOUNS = {
    "sessions": "durable conversations: create, give work, look, end",
    "runs": "pieces of work: watch, wait, cancel",
    "approvals": "tool calls that need a yes",
    "questions": "what agents asked",
    "decisions": "effects in doubt",
    "tasks": "shell commands and their output",
    "assets": "files that runs are given",
    "personas": "who agents are",
    "routes": "ways to a model",
    "secrets": "slots for keys",
    "tokens": "who may speak to the API",
    "connectors": "ways in: webhooks, Slack, Telegram, sidecars",
    "deliveries": "answers on their way out, dead letters, targets",
    "identities": "who may decide from a chat",
    "observations": "captures of devices, and showing them to an agent",
    "runtime": "settings and permission rules",
    "audit": "signed records of what left the service",
}

GLOBALS: tuple[Argument, ...] = (
    arg(
        "--base-url",
        metavar="URL",
        help="address of the service (or KHEISH_URL; else the one that runs here is found)",
    ),
    arg(
        "--token-file",
        metavar="FILE",
        help="file with the API token (or KHEISH_TOKEN, the token itself; else operator.token is found)",
    ),
    arg(
        "--json",
        dest="mode",
        action="store_const",
        const="json",
        help="one JSON document; streams: an object a line",
    ),
    arg("--quiet", "-q", dest="mode", action="store_const", const="quiet", help="ids only"),
    arg("--no-input", action="store_true", help="never ask"),
)
DEFAULTS = {"base_url": None, "token_file": None, "mode": "human", "no_input": False}

OVERVIEW = """\
kheish: run agents as durable services, and approve what they do.

First steps
  {prog} sessions create demo                 make a session
  {prog} sessions input demo "…" --follow     give it work and watch
  {prog} approvals list                       what waits for a yes
  {prog} approvals allow APPROVAL             … and say it (or deny, or allow-all --session-id demo)
  {prog} status                               how the service is

Nouns
{nouns}

  {prog} NOUN --help lists its verbs. On every command: --json, --quiet, --base-url, --token-file, --no-input.
"""


class Parser(argparse.ArgumentParser):
    """argparse that names the next step on a wrong command line, and accepts no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse here what is not known: later only the usage of the whole program is at hand."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the word that was meant, of verbs and of other choices, instead of all there are."""
        words = list(action.choices or ())
        if words and value not in words:
            from difflib import get_close_matches  # here for start-up cost

            kind = str(action.metavar or action.dest).lower()
            for meant in get_close_matches(str(value), words, n=1):
                self.error(f"no {kind} {value!r}; did you mean {meant}?")
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}\n  See: {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole tree. Parsed arguments carry `command: Command` unless help was asked for by silence."""
    parser = Parser(
        prog=program(),
        description="Run agents as durable services.",
        epilog=_exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for argument in GLOBALS:
        shared.add_argument(*argument.names, **argument.options)
        parser.add_argument(*argument.names, **argument.options | {"default": argparse.SUPPRESS})
    parser.set_defaults(**DEFAULTS, command=None, silent_parser=parser)
    nouns = parser.add_subparsers(title="nouns", metavar="NOUN")
    branches: dict[str, Any] = {}
    for command in COMMANDS:
        _add_command(nouns, branches, command, shared)
    return parser


def overview() -> str:
    """What `kheish` alone prints."""
    single = {command.noun: command.help for command in COMMANDS if not command.verb}
    lines = [f"  {name:14}{text}" for name, text in (NOUNS | single).items()]
    return OVERVIEW.format(prog=program(), nouns="\n".join(lines))


def _add_command(
    nouns: Any, branches: dict[str, Any], command: Command, shared: argparse.ArgumentParser
) -> None:
    *middle, last = f"{command.noun} {command.verb}".split()
    parent, trail = nouns, ""
    for word in middle:
        trail = f"{trail} {word}".strip()
        if trail not in branches:
            text = NOUNS.get(trail, f"{word}: see its verbs")
            branch = parent.add_parser(word, help=text, description=text, parents=[shared])
            branch.set_defaults(silent_parser=branch)
            branches[trail] = branch.add_subparsers(title="verbs", metavar="VERB")
        parent = branches[trail]
    leaf = parent.add_parser(
        last, help=command.help, description=command.help, parents=[shared], aliases=list(command.aliases)
    )
    for argument in command.arguments:
        leaf.add_argument(*argument.names, **argument.options)
    leaf.set_defaults(command=command)


def _exit_codes() -> str:
    return "exit codes:\n" + "\n".join(f"  {int(code):3}  {meaning}" for code, meaning in MEANINGS.items())
