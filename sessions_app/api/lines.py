"""Answers of many lines (``application/x-ndjson``), sent as they are read and never held whole."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer

MEDIA_TYPE: Final = "application/x-ndjson"
PIECE_CHARACTERS: Final = 64 * 1024


class LinesRenderer(JSONRenderer):
    """Lets a caller ask for lines; what it renders itself are problems, which are JSON."""

    media_type = MEDIA_TYPE
    format = "ndjson"


class LinesResponse(StreamingHttpResponse):
    """Lines from a blocking source. Under an event loop they are read in the request's own thread."""

    def __init__(self, lines: Iterable[str], *, file_name: str, media_type: str = MEDIA_TYPE) -> None:
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{file_name}"'}
        super().__init__(_pieces(lines), content_type=media_type, headers=headers)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces; the base class would read all of them first."""
        source = iter(self)
        while (piece := await sync_to_async(_following)(source)) is not None:
            yield piece


def _following(source: Iterator[bytes]) -> bytes | None:
    return next(source, None)


def _pieces(lines: Iterable[str]) -> Iterator[bytes]:
    held, size = [], 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield "".join(held).encode()
            held, size = [], 0
    if held:
        yield "".join(held).encode()
