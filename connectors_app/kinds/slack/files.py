"""Files of a message, fetched while Slack waits for its answer.

Slack wants an answer within three seconds, so all files together get two. A file that is not fetched in that
time makes Slack send the event again, up to three times; the last time the message is taken without it, and a
line in the input names the missing file, as it does at once for a file that can never be fetched.
"""

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from connectors_app.kinds.slack.settings import Options
from connectors_app.kinds.slack.web import SlackApi, is_private, is_slack
from connectors_app.services import outbound
from connectors_app.services.contracts import Refused, SendFailure
from connectors_app.services.resolution import DOMAIN
from kheish_site.lib.errors import KheishError, Unavailable
from sessions_app.services import asset_types, inputs

BUDGET_SECONDS: Final = 2.0
MOST_FILES: Final = 10
LARGEST_FILE_BYTES: Final = 12 * 1024 * 1024
LARGEST_TOTAL_BYTES: Final = 16 * 1024 * 1024
LAST_RETRY: Final = 3
RETRY_AFTER_SECONDS: Final = 5
_SAME: Final = {"image/jpg": "image/jpeg", "text/x-markdown": "text/markdown", "application/csv": "text/csv"}


class FilesUnavailable(Unavailable):
    """A file could not be fetched in time; Slack should send the event again."""

    code, domain = "slack_files_unavailable", DOMAIN


class _Missing(Exception):
    """The file cannot be fetched; the message says why, ``forever`` whether a retry is useless."""

    def __init__(self, reason: str, *, forever: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.forever = forever


@dataclass
class _Budget:
    deadline: float
    bytes_left: int

    def seconds(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0.05:
            raise _Missing("there was no time left to fetch it", forever=False)
        return left


def fetch(
    config: Options,
    files: Sequence[Mapping[str, Any]],
    *,
    token: str,
    is_last: bool,
    budget_seconds: float = BUDGET_SECONDS,
) -> list[dict[str, Any]]:
    """Return input items: each file inline, or a line that says why it is missing.

    Without ``token`` none is fetched; ``is_last``: Slack will not send the event again. No transaction may be
    open. Raises: FilesUnavailable.
    """
    budget = _Budget(deadline=time.monotonic() + budget_seconds, bytes_left=LARGEST_TOTAL_BYTES)
    items = []
    for number, file in enumerate(files):
        try:
            if number >= MOST_FILES:
                raise _Missing(f"a message brings at most {MOST_FILES} files")
            items.append(_fetched(config, file, token, budget))
        except _Missing as missing:
            if not missing.forever and not is_last:
                raise FilesUnavailable(
                    f"{_name(file)}: {missing.reason}", retry_after_seconds=RETRY_AFTER_SECONDS
                ) from missing
            items.append(_line(file, missing.reason))
    return items


def opened(
    files: Sequence[Mapping[str, Any]], items: Sequence[dict[str, Any]], *, is_last: bool
) -> list[dict[str, Any]]:
    """Return the items with their files opened and checked; a line replaces a bad one, the message stays.

    No transaction may be open. Raises: FilesUnavailable.
    """
    return [_opened(file, item, is_last) for file, item in zip(files, items, strict=True)]


def _opened(file: Mapping[str, Any], item: dict[str, Any], is_last: bool) -> dict[str, Any]:
    try:
        return inputs.prepare([item])[0]
    except KheishError as error:
        if error.retryable and not is_last:
            raise FilesUnavailable(error.detail, retry_after_seconds=RETRY_AFTER_SECONDS) from error
        return _line(file, error.detail)


def _fetched(config: Options, file: Mapping[str, Any], token: str, budget: _Budget) -> dict[str, Any]:
    if not token:
        raise _Missing("the connector may not fetch files")
    if file.get("file_access") == "check_file_info":
        file = _looked_up(config, file, token, budget)
    url, media_type = _address(config, file), _media_type(file)
    size = file.get("size")
    limit = min(LARGEST_FILE_BYTES, budget.bytes_left)
    if isinstance(size, int) and size > limit:
        raise _Missing("it is too large")
    data = _download(config, url, token, budget, limit=limit)
    budget.bytes_left -= len(data)
    return {
        "type": "inline_asset",
        "file_name": _name(file),
        "media_type": media_type,
        "content_base64": base64.b64encode(data).decode(),
    }


def _address(config: Options, file: Mapping[str, Any]) -> str:
    if file.get("is_external") or file.get("mode") in ("external", "tombstone", "hidden_by_limit"):
        raise _Missing("Slack does not hold it")
    url = file.get("url_private_download") or file.get("url_private")
    if not isinstance(url, str) or not url:
        raise _Missing("Slack gave no address for it")
    if not is_slack(url, config, more_hosts=config.allowed_file_hosts):
        raise _Missing("its address is not at a host that the connector allows")
    return url


def _media_type(file: Mapping[str, Any]) -> str:
    found = file.get("mimetype")
    media_type = found.partition(";")[0].strip().lower() if isinstance(found, str) else ""
    media_type = _SAME.get(media_type, media_type)
    if media_type not in asset_types.TYPES and not media_type.startswith("audio/"):
        raise _Missing(f"files of type {media_type or 'unknown'} are not supported")
    return media_type


def _download(config: Options, url: str, token: str, budget: _Budget, *, limit: int) -> bytes:
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    try:
        answer = outbound.exchange(
            httpx.Request("GET", url, headers=headers),
            allow_private=is_private(url, config),
            timeout_seconds=budget.seconds(),
            limit_bytes=limit + 1,
        )
    except Refused as refused:
        raise _Missing("its address may not be fetched") from refused
    except SendFailure as failure:
        raise _Missing(f"it could not be fetched ({failure.error_class})", forever=False) from failure
    if answer.status == 429 or answer.status >= 500:
        raise _Missing(f"Slack answered with status {answer.status}", forever=False)
    is_page = answer.headers.get("content-type", "").startswith("text/html")
    if answer.status != 200 or is_page:  # without access to the file, Slack sends its login page
        raise _Missing(f"Slack did not hand it out (status {answer.status})")
    if len(answer.body) > limit:
        raise _Missing("it is too large")
    if not answer.body:
        raise _Missing("it is empty")
    return answer.body


def _looked_up(config: Options, file: Mapping[str, Any], token: str, budget: _Budget) -> Mapping[str, Any]:
    """Return the full description of a file that a message from another organisation only names."""
    api = SlackApi(config=config, token=token, timeout_seconds=budget.seconds())
    try:
        found = api.read("files.info", {"file": str(file.get("id", ""))}).get("file")
    except Refused as refused:
        raise _Missing("Slack did not hand it out") from refused
    except SendFailure as failure:
        raise _Missing(f"Slack could not be asked ({failure.error_class})", forever=False) from failure
    if not isinstance(found, Mapping):
        raise _Missing("Slack did not hand it out")
    return found


def _line(file: Mapping[str, Any], reason: str) -> dict[str, Any]:
    return {"type": "text", "text": f"[The file {_name(file)} is missing: {reason}.]"}


def _name(file: Mapping[str, Any]) -> str:
    found = file.get("name") or file.get("title") or file.get("id")
    text = "".join(character for character in str(found or "file") if character.isprintable())
    return text.replace("/", "_").replace("\\", "_")[:200] or "file"
