"""The package's event stream, less strict where servers are."""

from collections.abc import Iterator
from typing import Any

import openai
from openai._streaming import ServerSentEvent

_MARK = b"\xef\xbb\xbf"


class EventStream(openai.Stream[object]):
    """Events of one answer. One without data only keeps the connection alive, and none begins with a mark."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._pieces = self.response.iter_bytes()
        self._head = b""

    def begins(self) -> bytes:
        """The first byte that is no blank and no byte order mark; none when there is no body."""
        while not self._head or _MARK.startswith(self._head):
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._head = (self._head + piece).removeprefix(_MARK).lstrip()
        return self._head[:1]

    def rest(self) -> Iterator[bytes]:
        """All of the body as bytes, for who has seen that it is no stream of events."""
        yield self._head
        yield from self._pieces

    def _iter_events(self) -> Iterator[ServerSentEvent]:
        for event in self._decoder.iter_bytes(self.rest()):
            if event.data.strip():
                yield event
