"""`audit`: signed records of what left the service, and checking them without it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from kheish_site.cli import run_export
from kheish_site.cli.client import path
from kheish_site.cli.command import (
    PAGING,
    Command,
    Context,
    arg,
    given,
    read_file,
    whole_lines,
    write_pieces,
)
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.resources import ACTION, AUDIT_ENTRY, show_list

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


def log(context: Context) -> None:
    query = given(context.args, "principal", "action", "object_kind", "object_id")
    show_list(context, AUDIT_ENTRY, path("audit-log"), query)


def export(context: Context) -> None:
    """Write an export to a file or to standard output, byte for byte."""
    write_pieces(context, _pieces(context, context.args.session_id), context.args.output)


def verify(context: Context) -> int:
    """Check the export of a chain or a run against a public key: no service and no database is needed."""
    # Here for start-up cost: it loads cryptography, which no other command needs.
    from kheish_site.lib import action_chain

    args = context.args
    if (args.file is None) == (args.live is None):
        raise UsageError("give the file of an export, or --live SESSION")
    if args.file is not None and args.public_key is None:
        raise UsageError("--public-key is needed: whoever changed the file would also name a key of theirs")
    known = _public_key(context)
    try:
        if args.live is None and (document := _run_export(args.file)) is not None:
            return _show_run(context, run_export.verify(document, known))
        if args.live is not None:
            found = action_chain.verify(whole_lines(_pieces(context, args.live)), known)
        else:
            with Path(args.file).open("rb") as stream:
                read = partial(stream.readline, action_chain.LONGEST_LINE_BYTES)
                found = action_chain.verify(iter(read, b""), known)
    except OSError as error:
        raise UsageError(f"cannot read {args.file}: {error.strerror or error}") from error
    _show(context, {"valid": found.valid, **asdict(found)})
    return Exit.OK if found.valid else Exit.FAILED


def _run_export(name: str) -> dict[str, Any] | None:
    """The export of a run in a file, or None for a file of lines. Raises: OSError."""
    with Path(name).open("rb") as stream:
        if not stream.read(64).startswith(b'{"type":"%s"' % run_export.TYPE.encode()):
            return None
        stream.seek(0)
        try:
            document = json.load(stream)
        except ValueError as error:
            raise UsageError(f"{name} is not whole: {error}") from error
    return dict(document)


def _show_run(context: Context, found: dict[str, Any]) -> int:
    if context.out.mode == "json":
        context.out.document(found)
    elif found["valid"]:
        entries, records = found["journal"]["entries"], found["records"]
        words = f"{found['run_id']}: {entries} journal entries and {records} signed records, whole"
        context.out.line(f"{words}; journal head {found['journal']['head']}", "green")
        context.out.line(f"As the journal says: {', '.join(found['compared'])}.")
        context.out.line(f"Not compared with it: {', '.join(found['not_compared'])}.")
    else:
        rows = [[problem["place"], problem["problem"]] for problem in found["problems"]]
        context.out.table(["PLACE", "PROBLEM"], rows, ["red"] * len(rows))
    return Exit.OK if found["valid"] else Exit.FAILED


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
    see = context.command("audit key")
    cure = f"A public key is 64 characters of hex, or a file that holds them. See: {see}"
    if text is None:
        text = str(context.client.get(path("runtime", "audit-key"))["public_key"])
    elif not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        try:
            text = read_file(text).strip()
        except UsageError as error:
            raise UsageError(error.message, cure=cure) from error
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UsageError("this is no public key", cure=cure)
    return text.lower()


def _pieces(context: Context, session_id: str) -> Iterator[bytes]:
    if session_id == UNSCOPED:
        return context.client.export(path("external-actions", "export"))
    return context.client.export(path("sessions", session_id, "external-actions", "export"))


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
        verb="log",
        help="list what people and tokens changed outside sessions",
        run=log,
        arguments=(
            arg("--principal", metavar="NAME", help="only by this account or token"),
            arg("--action", metavar="ACTION", help="only this: persona.updated, token.created, …"),
            arg("--object-kind", metavar="KIND", help="only of this kind: persona, route, connector, …"),
            arg("--object-id", metavar="ID", help="only of this object"),
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
            arg("file", metavar="FILE", nargs="?", help="what `audit export` or `runs export` wrote"),
            arg("--public-key", metavar="HEX_OR_FILE", help="the key, from a place you trust"),
            arg("--live", metavar="SESSION", help="check what the service exports now instead of a file"),
        ),
    ),
)
