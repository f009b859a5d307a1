"""One command line: read, carried out, and its end told as an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from kheish_site.cli import interrupts
from kheish_site.cli.client import Client
from kheish_site.cli.command import Context
from kheish_site.cli.config import resolve
from kheish_site.cli.exits import CliError, Exit, UsageError
from kheish_site.cli.failures import explain_foreign, explain_problem, explain_unreachable
from kheish_site.cli.output import Output
from kheish_site.cli.parser import build_parser, overview
from kheish_site.cli.transport import Foreign, Problem, Unreachable


def main(
    argv: Sequence[str],
    *,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run one command line without the program's name; the exit code (`exits.Exit`)."""
    environ = os.environ if environ is None else environ
    out = Output(stdout=stdout or sys.stdout, stderr=stderr or sys.stderr, environ=environ)
    try:
        return _run(argv, out, stdin or sys.stdin, environ)
    except CliError as error:
        return _report(out, error)
    except RecursionError:  # nothing else here recurses; some depths are read and cannot be sent
        return _report(out, UsageError("the JSON is nested too deeply"))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.OK  # the reader has seen enough, as in `… | head`
    except OSError as error:  # a full disk, behind `>`
        return _report(out, _unwritten(error))


def console(argv: Sequence[str] | None = None) -> int:
    """The command line of this process, with its streams and Ctrl-C: `kheish …` and `manage.py NOUN …`."""
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    interrupts.hear()
    code = main(sys.argv[1:] if argv is None else argv)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Point the descriptor elsewhere, or the interpreter complains when it flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            out = Output(stdout=sys.stdout, stderr=sys.stderr, environ=os.environ)
            code = _report(out, _unwritten(error))
    return code


def _run(argv: Sequence[str], out: Output, stdin: TextIO, environ: Mapping[str, str]) -> int:
    parser = build_parser()
    if not argv:
        out.stdout.write(overview())
        return Exit.OK
    if any("\udc80" <= character <= "\udcff" for word in argv for character in word):
        raise UsageError("an argument is not text in UTF-8")
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed help or a usage error
        return int(stop.code or 0)
    if args.command is None:
        args.silent_parser.print_help(out.stderr)
        return Exit.USAGE
    out.mode = args.mode
    connection = resolve(base_url=args.base_url, token_file=args.token_file, environ=environ, cwd=Path.cwd())
    client = Client(
        connection.base_url, connection.token, on_outage=lambda: out.word("reconnecting …", "dim")
    )
    context = Context(args=args, client=client, connection=connection, out=out, stdin=stdin)
    try:
        return int(args.command.run(context) or Exit.OK)
    except Problem as problem:
        raise explain_problem(context, problem) from problem
    except Unreachable as error:
        raise explain_unreachable(context, error) from error
    except Foreign as error:
        raise explain_foreign(context, error) from error


def _nowhere() -> TextIO:
    """What stands for a stream that was closed before the start, as by `>&-`."""
    return open(os.devnull, "w", encoding="utf-8")


def _unwritten(error: OSError) -> CliError:
    of = f"{error.filename}: " if error.filename else ""
    return CliError(f"cannot go on: {of}{error.strerror or error}")


def _report(out: Output, error: CliError) -> int:
    out.word(f"error: {error.message}", "red")
    if error.cure:
        out.word(f"  {error.cure}")
    return error.code
