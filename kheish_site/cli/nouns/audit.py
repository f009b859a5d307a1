"""`audit`: signed records of what left the service, and checking them without it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import PAGING, Command, Context, arg, given, read_file
from kheish_site.cli.exits import CliError, Exit, UsageError
from kheish_site.cli.resources import ACTION, show_list

UNSCOPED = "unscoped"


def key(context: Context) -> None:
    """Print the public key: keep it where nobody who can write to the service can change it."""
    answer = context.client.get(path("runtime", "audit-key"))
    if context.out.mode == "json":
        context.out.document(answer)
    else:
        context.out.line(str(answer["public_key"]))


def list_records(context: Context) -> None:
    show_list(context, ACTION, path("external-actions"), given(context.args, "session_id", "run_id", "kind"))


def export(context: Context) -> None:
    """Write an export to a file or to standard output, byte for byte."""
    pieces = _pieces(context, context.args.session_id)
    if context.args.output is None:
        for text in _decoded(pieces):
            context.out.stdout.write(text)
        return
    target = Path(context.args.output)
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


def verify(context: Context) -> int:
    """Check an export against a public key: nothing else is needed, no service and no database."""
    # Here for start-up cost: it loads cryptography, which no other command needs.
    from kheish_site.lib import action_chain

    args = context.args
    if (args.file is None) == (args.live is None):
        raise UsageError("give the file of an export, or --live SESSION")
    if args.file is not None and args.public_key is None:
        raise UsageError("--public-key is needed: whoever changed the file would also name a key of theirs")
    known = _public_key(context)
    try:
        if args.live is not None:
            found = action_chain.verify(_lines(_pieces(context, args.live)), known)
        else:
            with Path(args.file).open("rb") as stream:
                read = partial(stream.readline, action_chain.LONGEST_LINE_BYTES)
                found = action_chain.verify(iter(read, b""), known)
    except OSError as error:
        raise UsageError(f"cannot read {args.file}: {error.strerror or error}") from error
    _show(context, {"valid": found.valid, **asdict(found)})
    return Exit.OK if found.valid else Exit.FAILED


def _show(context: Context, found: dict[str, Any]) -> None:
    problems = found["problems"]
    if context.out.mode == "json":
        context.out.document(found)
    elif not problems:
        context.out.line(
            f"{found['records']} records of {found['bucket']}, whole; head {found['head']}", "green"
        )
    else:
        rows = [[str(problem["line"]), problem["problem"]] for problem in problems]
        context.out.table(["LINE", "PROBLEM"], rows, ["red"] * len(rows))


def _public_key(context: Context) -> str:
    text = context.args.public_key
    if text is None:
        text = str(context.client.get(path("runtime", "audit-key"))["public_key"])
    elif not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        text = read_file(text).strip()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UsageError(
            "a public key is 64 characters of hex, or a file that holds them", cure="See: audit key"
        )
    return text.lower()


def _pieces(context: Context, session_id: str) -> Iterator[bytes]:
    if session_id == UNSCOPED:
        return context.client.export(path("external-actions", "export"))
    return context.client.export(path("sessions", session_id, "external-actions", "export"))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut pieces into lines with their ends, as a file gives them."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def _decoded(pieces: Iterable[bytes]) -> Iterator[str]:
    return (line.decode() for line in _lines(pieces))


SESSION = arg(
    "session_id", metavar="SESSION", help=f"id of the session, or `{UNSCOPED}` for what no session asked for"
)

COMMANDS = (
    Command(noun="audit", verb="key", help="print the public key that verifies exports", run=key),
    Command(
        noun="audit",
        verb="list",
        help="list signed records of external actions",
        run=list_records,
        arguments=(
            arg("--session-id", metavar="SESSION", help="only of this session"),
            arg("--run-id", metavar="RUN", help="only of this run"),
            arg("--kind", choices=("tool", "delivery", "webhook_answer", "mcp"), help="only of this kind"),
            *PAGING,
        ),
    ),
    Command(
        noun="audit",
        verb="export",
        help="write the signed records of a session, for checking elsewhere",
        run=export,
        arguments=(
            SESSION,
            arg("--output", "-o", metavar="FILE", help="the file (default: standard output)"),
        ),
    ),
    Command(
        noun="audit",
        verb="verify",
        help="check an export to the byte, without the service",
        run=verify,
        arguments=(
            arg("file", metavar="FILE", nargs="?", help="what `audit export` wrote"),
            arg("--public-key", metavar="HEX_OR_FILE", help="the key, from a place you trust"),
            arg("--live", metavar="SESSION", help="check what the service exports now instead of a file"),
        ),
    ),
)
