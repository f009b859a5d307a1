"""What a command is made of: its row in the parser table, and the context it runs in."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from kheish_site.cli.client import Client
from kheish_site.cli.config import Connection
from kheish_site.cli.exits import CliError, Exit, UsageError
from kheish_site.cli.output import Output


@dataclass(frozen=True)
class Argument:
    """One argument of argparse, as data."""

    names: tuple[str, ...]
    options: dict[str, Any]


def arg(*names: str, **options: Any) -> Argument:
    return Argument(names, options)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One row of the table. verb: "" for a noun that is a command itself; two words nest once more."""

    noun: str
    verb: str
    help: str
    run: Callable[[Context], int | None]
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Context:
    """Everything a command may touch. `run` returns an exit code, or None for 0."""

    args: argparse.Namespace
    client: Client
    connection: Connection
    out: Output
    stdin: TextIO = field(default_factory=lambda: sys.stdin)

    @property
    def interactive(self) -> bool:
        """True when a person can be asked."""
        return not self.args.no_input and self.stdin.isatty() and self.out.stderr.isatty()

    def command(self, text: str) -> str:
        """A command to type next, reaching the same service the same way as this one."""
        flags = ""
        if self.args.base_url:
            flags += f" --base-url {self.args.base_url}"
        if self.args.token_file:
            flags += f" --token-file {self.args.token_file}"
        return f"{program()} {text}{flags}"

    def ask(self, question: str) -> str:
        """One line from the person. Raises UsageError when nobody can be asked."""
        if not self.interactive:
            raise UsageError(
                f"cannot ask: {question}", cure="Give the answer on the command line; see --help."
            )
        print(question, end=" ", file=self.out.stderr, flush=True)
        return self.stdin.readline().strip()

    def confirm(self, question: str) -> bool:
        """Yes or no; yes without asking under --yes."""
        return bool(getattr(self.args, "yes", False)) or self.ask(f"{question} [y/N]").lower() in ("y", "yes")

    def deadline(self) -> float | None:
        """The moment --timeout ends, as `time.monotonic()` tells it."""
        seconds = getattr(self.args, "timeout", None)
        return None if seconds is None else time.monotonic() + float(seconds)


def program() -> str:
    """How the person calls us, for commands we suggest."""
    return "python3 manage.py" if os.path.basename(sys.argv[0]) == "manage.py" else "kheish"


def declined(context: Context) -> int:
    """The person said no: nothing was done."""
    context.out.word("Nothing was changed.")
    return Exit.FAILED


def read_text(context: Context, value: str | None, *, what: str) -> str:
    """Text given as an argument, or read from standard input for `-` and for a pipe."""
    if value not in (None, "-"):
        return str(value)
    if value is None and context.stdin.isatty():
        raise UsageError(f"no {what} given", cure="Write it on the command line, or pipe it in with `-`.")
    return context.stdin.read()


def read_file(name: str) -> str:
    """A text file named on the command line."""
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error


def write_pieces(context: Context, pieces: Iterable[bytes], file: str | None) -> None:
    """Write what is downloaded to a file, whole or not at all, or to standard output."""
    if file is None:
        for line in whole_lines(pieces):
            context.out.stdout.write(line.decode())
        return
    target = Path(file)
    draft = target.with_name(f".{target.name}.part")
    try:
        with draft.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
        draft.replace(target)
    except OSError as error:
        raise CliError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    context.out.word(f"Written to {target}.", "dim")


def whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut pieces into lines with their ends, as a file gives them."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def parse_json(text: str, *, what: str) -> Any:
    """Strict JSON; raises UsageError that names the place, or what is too much."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{what} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})",
            cure="Strings need double quotes inside the shell's own: '\"text\"'.",
        ) from error
    except ValueError as error:  # Python reads no number of more than some thousand digits
        raise UsageError(f"{what} holds a number that is too long") from error
    except RecursionError as error:
        raise UsageError(f"{what} is nested too deeply") from error


def assignments(pairs: list[str] | None, *, what: str) -> dict[str, Any]:
    """`key=json` pairs, typed; raises UsageError for anything else."""
    values: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"{what} wants key=json, not {pair!r}")
        values[key] = parse_json(text, what=f"{what} {key}")
    return values


def given(args: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """The arguments that were given, by API field name: unknown or absent fields are never sent."""
    wanted = {name: name for name in names} | renamed
    found = {field_name: getattr(args, name) for field_name, name in wanted.items()}
    return {field_name: value for field_name, value in found.items() if value is not None}


def listed(args: argparse.Namespace) -> dict[str, Any]:
    """Filters of the waiting lists; `--status all` is none."""
    wanted = given(args, "session_id", "run_id", "status")
    return {name: value for name, value in wanted.items() if (name, value) != ("status", "all")}


def duration(text: str) -> float:
    """Seconds for --timeout: `90`, `90s`, `5m`, `2h`."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, factor = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        seconds = float(number) * factor
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a length of time: {text!r} (try 90, 5m or 2h)") from None
    if not 0 < seconds < 10**8:
        raise argparse.ArgumentTypeError("must be more than 0")
    return seconds


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a whole number from 1: {text!r}")
    return int(text)


BY_OWNER = (
    arg("--session-id", metavar="SESSION", help="of this session"),
    arg("--run-id", metavar="RUN", help="of this run"),
)
REASON = arg("--reason", metavar="TEXT", help="why, for the record")
YES = arg("--yes", "-y", action="store_true", help="do not ask")
CURSOR = arg("--cursor", metavar="CURSOR", help="where to begin; 0 is the start")
TIMEOUT = arg("--timeout", metavar="TIME", type=duration, help="give up after 90, 5m or 2h: exit code 3")
EXIT_ON_WAIT = arg(
    "--exit-on-wait", action="store_true", help="stop with exit code 20 when a person is needed"
)
EXIT_STATUS = arg("--exit-status", action="store_true", help="exit code 5 unless the run completes")
DELTAS = arg("--deltas", action="store_true", help="with --json, also the token deltas (no id, may be lost)")
PAGING = (
    arg("--limit", metavar="N", type=count, default=50, help="how many to show (default 50)"),
    arg("--cursor", metavar="CURSOR", help="go on where the page before ended"),
    arg("--all", action="store_true", help="every page"),
)
