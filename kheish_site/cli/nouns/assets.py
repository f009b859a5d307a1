"""`assets`: files that runs are given."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from kheish_site.cli.client import Client, path
from kheish_site.cli.command import PAGING, YES, Command, Context, arg, declined, given
from kheish_site.cli.exits import CliError, Exit, UsageError
from kheish_site.cli.resources import ASSET, show_list, show_one
from kheish_site.cli.text import one_line


def list_assets(context: Context) -> None:
    show_list(context, ASSET, path("assets"), given(context.args, "media_type", "file_name"))


def get(context: Context) -> None:
    show_one(context, ASSET, context.client.get(path("assets", context.args.asset_id)))


def upload(context: Context) -> None:
    args = context.args
    show_one(context, ASSET, send_file(context.client, args.file, args.media_type or ""))


def send_file(client: Client, name: str, media_type: str = "") -> Any:
    """Store a file and return its view; without a media type the service finds it out. Raises UsageError."""
    file = Path(name)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from error
    body = {"file_name": file.name, "content_base64": base64.b64encode(content).decode()}
    return client.request("POST", path("assets"), body | ({"media_type": media_type} if media_type else {}))


def download(context: Context) -> None:
    """Fetch, compare with the hash, and only then write. An existing file is kept unless --force."""
    args = context.args
    view = context.client.get(path("assets", args.asset_id))
    content = context.client.download(path("assets", args.asset_id, "raw"))
    if hashlib.sha256(content).hexdigest() != view["sha256"]:
        raise CliError("the bytes that arrived are not the stored ones", cure="Try again.")
    if args.output == "-":
        context.out.stdout.buffer.write(content)
        return
    target = Path(args.output or Path(str(view["file_name"])).name or args.asset_id)
    try:
        with target.open("wb" if args.force else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise UsageError(f"{target} exists", cure="Give --output FILE, or --force.") from None
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from error
    if context.out.mode == "json":
        context.out.document({**view, "path": str(target)})
    else:
        context.out.line(one_line(target))


def delete(context: Context) -> int:
    args = context.args
    if (
        not args.dry_run
        and context.interactive
        and not context.confirm(f"Delete {args.asset_id}? Its bytes are gone then.")
    ):
        return declined(context)
    query = {"dry_run": True} if args.dry_run else {}
    answer = context.client.request("DELETE", path("assets", args.asset_id), query=query)
    if context.out.mode == "json":
        context.out.document(answer)
    else:
        context.out.line(str(args.asset_id))
        context.out.word("It would be deleted." if args.dry_run else "Deleted.", "dim")
    return Exit.OK


ASSET_ID = arg("asset_id", metavar="ASSET", help="id of the asset")

COMMANDS = (
    Command(
        noun="assets",
        verb="list",
        help="list assets",
        run=list_assets,
        arguments=(
            arg("--media-type", metavar="TYPE", help="only of this type, as image/png"),
            arg("--name", dest="file_name", metavar="TEXT", help="with this in the file name"),
            *PAGING,
        ),
    ),
    Command(noun="assets", verb="get", help="show one asset", run=get, arguments=(ASSET_ID,)),
    Command(
        noun="assets",
        verb="upload",
        help="store a file",
        run=upload,
        arguments=(
            arg("file", metavar="FILE", help="the file"),
            arg("--media-type", metavar="TYPE", help="its type (default: found out)"),
        ),
    ),
    Command(
        noun="assets",
        verb="download",
        help="fetch the file of an asset",
        run=download,
        arguments=(
            ASSET_ID,
            arg(
                "--output",
                "-o",
                metavar="FILE",
                help="where to (default: its own name; - is standard output)",
            ),
            arg("--force", action="store_true", help="overwrite a file that exists"),
        ),
    ),
    Command(
        noun="assets",
        verb="delete",
        help="delete an asset that nothing needs",
        run=delete,
        arguments=(ASSET_ID, arg("--dry-run", action="store_true", help="only say whether it would"), YES),
    ),
)
