"""``manage.py demo``: one incident, played for real, with a SIGKILL in the middle of it.

Reading order: ``story`` (what happens), ``stage`` (the service it happens on), ``scenery`` (the files the
agent looks at). No Django: everything goes over HTTP, as it would for anybody else.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager

from kheish_site.cli.client import Client
from kheish_site.cli.exits import CliError, Exit
from kheish_site.cli.output import Output
from kheish_site.cli.transport import Problem, Unreachable
from kheish_site.demo.stage import Guest, OwnService, Stage
from kheish_site.demo.story import Story

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Play the story. 0 when the run completed and its journal is whole, else 1; 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    out = Output(stdout=sys.stdout, stderr=sys.stderr, environ=os.environ)
    try:
        with _stage(options) as stage:
            return Story(stage, out, pause_seconds=0.0 if options.fast else 1.0, ask=options.ask).play()
    except (CliError, Problem, Unreachable, OSError) as error:
        out.word(f"error: {error}", "red")
        return Exit.FAILED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py demo",
        description="Play an incident: an alert, a plan, two checks, an approval, a crash, a recovery.",
    )
    parser.add_argument(
        "--base-url",
        metavar="URL",
        default=os.environ.get("KHEISH_URL"),
        help="a running service (KHEISH_URL); without it the demo starts one of its own, which it may kill",
    )
    parser.add_argument(
        "--ask", action="store_true", help="leave the approval to you: console or command line"
    )
    parser.add_argument("--fast", action="store_true", help="without pauses for reading")
    return parser


def _stage(options: argparse.Namespace) -> AbstractContextManager[Stage]:
    return Guest(Client(options.base_url)) if options.base_url else OwnService()
