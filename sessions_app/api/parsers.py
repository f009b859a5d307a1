"""How REST framework reads a body: JSON with one meaning, and no more of it than is allowed."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from kheish_site.lib import strict_json
from kheish_site.lib.errors import PayloadTooLarge


class StrictJSONParser(BaseParser):
    """What ``strict_json`` reads, of at most ``max_body_bytes``."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the body's value. Raises: InvalidJson, PayloadTooLarge."""
        return strict_json.loads(read_bounded(stream, self.largest_body()))

    def largest_body(self) -> int:
        """Return how many bytes are read."""
        return settings.KHEISH.max_body_bytes


def read_bounded(stream: IO[Any], limit: int) -> bytes:
    """Return the body. Raises: PayloadTooLarge."""
    raw: bytes = stream.read(limit + 1)
    if len(raw) > limit:
        raise PayloadTooLarge(f"the body is larger than {limit} bytes")
    return raw
