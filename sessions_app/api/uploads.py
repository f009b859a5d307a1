"""Bodies of ``POST /v1/assets``: JSON with Base64 in it, or the file itself."""

from collections.abc import Mapping
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

from django.conf import settings
from rest_framework.parsers import BaseParser

from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.strict_json import InvalidJson, text_problem
from sessions_app.api.parsers import StrictJSONParser, read_bounded

FILE_NAME: Final = "HTTP_X_FILE_NAME"


class Upload(dict[str, Any]):
    """A file that was the whole body. As a mapping it is what identifies it, for ``Idempotency-Key``."""

    def __init__(self, content: bytes, *, media_type: str, file_name: str) -> None:
        super().__init__(media_type=media_type, file_name=file_name, sha256=sha256_hex(content))
        self.content = content


class UploadJSONParser(StrictJSONParser):
    """JSON as large as the largest file in Base64 makes it."""

    def largest_body(self) -> int:
        """Return how many bytes are read."""
        return settings.KHEISH.largest_body_bytes


class RawUploadParser(BaseParser):
    """The file itself, of any type but JSON; ``X-File-Name`` (percent-encoded UTF-8) names it."""

    media_type = "*/*"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Upload:
        """Return the file. Raises: PayloadTooLarge, InvalidJson (a name that is no text)."""
        request = (parser_context or {})["request"]
        name = _file_name(str(request.META.get(FILE_NAME, "")))
        content = read_bounded(stream, settings.KHEISH.max_asset_bytes)
        return Upload(content, media_type=media_type or "", file_name=name)


def _file_name(header: str) -> str:
    name = unquote_to_bytes(header).decode("utf-8", "replace")
    if reason := text_problem(name):
        raise InvalidJson(f"X-File-Name: {reason}")
    return name[:1000]
