"""`observations`: captures of devices, and showing them to an agent."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Any

from kheish_site.cli.client import Client, path
from kheish_site.cli.command import (
    PAGING,
    YES,
    Command,
    Context,
    arg,
    assignments,
    count,
    declined,
    given,
    read_file,
)
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.nouns.observation_sources import SOURCE_COMMANDS, SOURCE_ID
from kheish_site.cli.resources import OBSERVATION, RUN, show_list, show_one


def list_observations(context: Context) -> None:
    wanted = given(context.args, "stream_id", "capture_group_id")
    if context.args.include_purged:
        wanted["include_purged"] = True
    show_list(
        context, OBSERVATION, path("observation-sources", context.args.source_id, "observations"), wanted
    )


def get(context: Context) -> None:
    show_one(context, OBSERVATION, context.client.get(path("observations", context.args.observation_id)))


def upload(context: Context) -> None:
    """With the source's own token: the one of the command line uploads nothing."""
    args = context.args
    try:
        data = Path(args.file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {args.file}: {error}") from error
    body: dict[str, Any] = {
        "content_base64": base64.b64encode(data).decode(),
        "file_name": Path(args.file).name[-200:],
        "media_type": args.media_type or "application/octet-stream",
        **given(args, "stream_id", "capture_group_id", "captured_at"),
    }
    if args.metadata:
        body["metadata"] = assignments(args.metadata, what="--metadata")
    device = Client(context.client.base_url, read_file(args.source_token_file).strip())
    target = path("observation-sources", args.source_id, "observations")
    headers = {"Idempotency-Key": args.idempotency_key or secrets.token_hex(16)}
    show_one(context, OBSERVATION, device.exchange("POST", target, body, headers=headers).body)


def materialize(context: Context) -> None:
    args = context.args
    body = {
        "session_id": args.session_id,
        "prompt": args.prompt,
        "selector": _selector(context),
        **given(args, "max_observations", "lookback_seconds", "raw_asset_policy"),
    }
    if args.allow_empty:
        body["fail_when_empty"] = False
    show_one(context, RUN, context.client.request("POST", path("observations", "materialize"), body))


def purge(context: Context) -> int:
    observation_id = context.args.observation_id
    if context.interactive and not context.confirm(f"Purge {observation_id}? Its content is lost."):
        return declined(context)
    show_one(context, OBSERVATION, context.client.request("DELETE", path("observations", observation_id)))
    return Exit.OK


def _selector(context: Context) -> dict[str, Any]:
    """One of: named observations, a group, a stream of a source, a source."""
    args = context.args
    said = given(args, "capture_group_id", "source_id", "stream_id", observation_ids="observation_id")
    kinds = {
        ("observation_ids",): "observation_ids",
        ("capture_group_id",): "observation_group",
        ("source_id",): "latest_from_source",
        ("source_id", "stream_id"): "latest_from_stream",
    }
    kind = kinds.get(tuple(said))
    if kind is None:
        raise UsageError(
            "say which observations",
            cure="One of --observation-id (repeated), --group, --source, or --source with --stream.",
        )
    return {"type": kind, **said}


OBSERVATION_ID = arg("observation_id", metavar="OBSERVATION", help="id of the observation")
STREAM = arg("--stream", dest="stream_id", metavar="STREAM", help="of this stream of the source")
GROUP = arg("--group", dest="capture_group_id", metavar="GROUP", help="of this capture group")

COMMANDS = (
    *SOURCE_COMMANDS,
    Command(
        noun="observations",
        verb="list",
        help="list what a source has sent",
        run=list_observations,
        arguments=(
            SOURCE_ID,
            STREAM,
            GROUP,
            arg("--include-purged", action="store_true", help="also those whose content is gone"),
            *PAGING,
        ),
    ),
    Command(
        noun="observations", verb="get", help="show one observation", run=get, arguments=(OBSERVATION_ID,)
    ),
    Command(
        noun="observations",
        verb="upload",
        help="send a file as a device would",
        run=upload,
        arguments=(
            SOURCE_ID,
            arg("file", metavar="FILE", help="the file to send"),
            arg(
                "--source-token-file",
                metavar="FILE",
                required=True,
                help="file with the source's upload token (ko_…)",
            ),
            arg("--media-type", metavar="TYPE", help="its media type; found out when not said"),
            STREAM,
            GROUP,
            arg("--captured-at", metavar="TIME", help="when it was recorded, RFC 3339"),
            arg("--metadata", metavar="KEY=JSON", action="append", help="a fact about it; may be repeated"),
            arg("--idempotency-key", metavar="KEY", help="the same key twice gives the same observation"),
        ),
    ),
    Command(
        noun="observations",
        verb="materialize",
        help="show observations to a session's agent",
        run=materialize,
        arguments=(
            arg("session_id", metavar="SESSION", help="id of the session"),
            arg("prompt", metavar="TEXT", help="what the agent is asked about them"),
            arg("--observation-id", metavar="ID", action="append", help="this one; may be repeated"),
            arg("--source", dest="source_id", metavar="SOURCE", help="the latest of this source"),
            STREAM,
            GROUP,
            arg(
                "--max", dest="max_observations", metavar="N", type=count, help="at most so many (default 3)"
            ),
            arg("--lookback-seconds", metavar="N", type=count, help="none received longer ago"),
            arg(
                "--raw",
                dest="raw_asset_policy",
                choices=("auto", "never", "always"),
                help="whether the files are shown (default auto)",
            ),
            arg("--allow-empty", action="store_true", help="make a run even when there is nothing to show"),
        ),
    ),
    Command(
        noun="observations",
        verb="purge",
        help="take the content of an observation away before its time",
        run=purge,
        arguments=(OBSERVATION_ID, YES),
    ),
)
