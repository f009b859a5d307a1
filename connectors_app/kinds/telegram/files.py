"""Photos and documents of a message: found in it, then fetched from Telegram, or named as missing."""

import base64
import mimetypes
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors_app.kinds.telegram.api import Bot
from connectors_app.services.contracts import Refused, SendFailure
from kheish_site.lib.errors import Unavailable

LARGEST_FILE_BYTES: Final = 10 * 1024 * 1024
BUDGET_SECONDS: Final = 10.0
_LONGEST_NAME: Final = 120
_AWAY_SECONDS: Final = 5.0
_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII
)


class MediaUnavailable(Unavailable):
    """A file of the event cannot be fetched now; the platform should send the event again."""

    code, domain = "ingress_media_unavailable", "connector_ingress"


@dataclass(frozen=True, kw_only=True)
class IncomingFile:
    """A file as the message names it; ``size_bytes`` is 0 when not given."""

    file_id: str
    file_name: str
    media_type: str
    size_bytes: int

    def line(self, why: str) -> str:
        """Return the line that replaces the file in the input."""
        return f"[{self.file_name} ({self.media_type}) was not fetched: {why}]"


def files_of(message: Mapping[str, Any]) -> tuple[IncomingFile, ...]:
    """Return the photo (its largest fitting size) and the document of a message."""
    found = []
    sizes = [size for size in message.get("photo") or () if _named(size)] if _listed(message) else []
    if sizes:
        fitting = [size for size in sizes if _size(size) <= LARGEST_FILE_BYTES] or sizes[:1]
        largest = max(fitting, key=lambda size: (_number(size.get("width")), _size(size)))
        name = f"photo-{_safe(str(largest.get('file_unique_id') or largest['file_id']))[:40]}.jpg"
        found.append(
            IncomingFile(
                file_id=largest["file_id"], file_name=name, media_type="image/jpeg", size_bytes=_size(largest)
            )
        )
    document = message.get("document")
    if _named(document):
        assert isinstance(document, dict)
        name = _safe(str(document.get("file_name") or "document"))
        found.append(
            IncomingFile(
                file_id=document["file_id"],
                file_name=name,
                media_type=_media_type(document.get("mime_type"), name),
                size_bytes=_size(document),
            )
        )
    return tuple(found)


def fetch(bot: Bot | None, files: Sequence[IncomingFile]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the files as input items, and a line for each that can never be fetched.

    Raises: MediaUnavailable when one may be fetched later. No transaction may be open.
    """
    items, lines = [], []
    deadline = time.monotonic() + BUDGET_SECONDS
    for file in files:
        if bot is None:
            lines.append(file.line("the connector has no bot_token"))
            continue
        try:
            content = _content(bot, file, deadline)
        except Refused as error:
            lines.append(file.line(error.message))
        except SendFailure as error:
            raise MediaUnavailable(
                f"{file.file_name} cannot be fetched now: {error.message}", retry_after_seconds=_AWAY_SECONDS
            ) from None
        else:
            items.append(
                {
                    "type": "inline_asset",
                    "file_name": file.file_name,
                    "media_type": file.media_type,
                    "content_base64": base64.b64encode(content).decode(),
                }
            )
    return items, lines


def _content(bot: Bot, file: IncomingFile, deadline: float) -> bytes:
    """Return the bytes. Raises: SendFailure."""
    if file.size_bytes > LARGEST_FILE_BYTES:
        raise Refused("terminal", f"it has more than {LARGEST_FILE_BYTES} bytes")
    where = bot.call("getFile", {"file_id": file.file_id}, timeout_seconds=_left(deadline))
    path = where.get("file_path") if isinstance(where, dict) else None
    if not isinstance(path, str) or not path or path.startswith("/") or ".." in path.split("/"):
        raise Refused("terminal", "Telegram gives no address for it")
    content = bot.download(path, limit_bytes=LARGEST_FILE_BYTES + 1, timeout_seconds=_left(deadline))
    if len(content) > LARGEST_FILE_BYTES:
        raise Refused("terminal", f"it has more than {LARGEST_FILE_BYTES} bytes")
    if not content:
        raise Refused("terminal", "it is empty")
    return content


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.1)


def _listed(message: Mapping[str, Any]) -> bool:
    return isinstance(message.get("photo"), list)


def _named(file: Any) -> bool:
    return isinstance(file, dict) and isinstance(file.get("file_id"), str) and bool(file["file_id"])


def _size(file: Mapping[str, Any]) -> int:
    return _number(file.get("file_size"))


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _safe(name: str) -> str:
    """Return a file name without its path and without unprintable characters."""
    kept = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable()).strip(". ")
    return kept[-_LONGEST_NAME:] or "document"


def _media_type(stated: Any, file_name: str) -> str:
    found = stated.lower() if isinstance(stated, str) else ""
    if not _MEDIA_TYPE.fullmatch(found):
        found = mimetypes.guess_type(file_name)[0] or "application/octet-stream"
    return found
