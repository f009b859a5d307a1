"""How much of an answer is read, whatever the server sends: memory and time belong to all runs of a worker.

A few hundred kilobytes may unpack to gigabytes, and a body need not end.
"""

from collections.abc import Iterator

import httpx

LONGEST_ANSWER_BYTES = 256 * 1024 * 1024
"""Of a stream, unpacked. A piece of an answer has a hundred times the bytes of its text in some streams."""
LONGEST_LINE_BYTES = 8 * 1024 * 1024
LONGEST_REFUSAL_BYTES = 256 * 1024
"""What is read of a refusal; its first words say why."""
PACKED_PIECE_BYTES = 16 * 1024
"""What is unpacked at once: deflate makes at most a thousand bytes of one."""


class AnswerTooLarge(httpx.StreamError):
    """The body is longer than any answer."""

    def __init__(self) -> None:
        super().__init__("the answer is too large")


class Response(httpx.Response):
    """A response whose unpacked body is bounded: a refusal is cut off, an answer is given up."""

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """See ``httpx.Response``. Raises: AnswerTooLarge."""
        if "," in self.headers.get("content-encoding", ""):
            raise httpx.DecodingError("the answer is packed more than once")
        pieces = super().iter_bytes(chunk_size)
        return self._beginning(pieces) if self.status_code >= 300 else self._bounded(pieces)

    def _beginning(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        left = LONGEST_REFUSAL_BYTES
        for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                self.close()  # the rest is not waited for
                return

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        total = line = 0
        for piece in pieces:
            total += len(piece)
            end = max(piece.rfind(b"\n"), piece.rfind(b"\r"))
            line = line + len(piece) if end < 0 else len(piece) - end
            if total > LONGEST_ANSWER_BYTES or line > LONGEST_LINE_BYTES:
                raise AnswerTooLarge
            yield piece


def packed_pieces(chunk: bytes) -> Iterator[bytes]:
    """Cut what was received into pieces that are unpacked one by one."""
    for start in range(0, len(chunk), PACKED_PIECE_BYTES):
        yield chunk[start : start + PACKED_PIECE_BYTES]
