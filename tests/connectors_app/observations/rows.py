"""Sources, files and uploads that the tests of captures need, made by the services."""

import struct
import zlib
from itertools import count
from typing import Any

from rest_framework.test import APIClient

from connectors_app.models import Observation, ObservationSource
from connectors_app.services.observations import sources, uploads
from connectors_app.services.observations.sources import SourceFields
from connectors_app.services.observations.uploads import Upload

_NUMBERS = count(1)


def png(shade: int = 0) -> bytes:
    """A whole image of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((0, shade % 256)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def wav() -> bytes:
    """A sound without a sample."""
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data" + struct.pack("<I", 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def make_source(
    source_id: str = "cam", kind: str = "screen_snapshot", **fields: Any
) -> tuple[ObservationSource, str]:
    """A source and its token."""
    return sources.create(source_id, kind, SourceFields(**fields), principal="alice")


def make_text_source(source_id: str = "notes", **fields: Any) -> ObservationSource:
    """A source of texts that anybody may read, unless told otherwise."""
    return make_source(source_id, "text_snapshot", **{"sensitive": False, **fields})[0]


def see(source: ObservationSource, data: bytes | str | None = None, **more: Any) -> Observation:
    """An observation of the source: a text, or an image that is like no other."""
    number = next(_NUMBERS)
    text = source.kind in ("text_snapshot", "document")
    content = data if data is not None else f"text {number}" if text else png(number)
    raw = content.encode() if isinstance(content, str) else content
    media_type = "text/plain" if text else "image/png"
    upload = Upload(**{"key": f"key-{number}", "media_type": media_type, "data": raw, **more})
    return uploads.accept(source, upload)[0]


def device(token: str) -> APIClient:
    """A client with an upload token."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client
