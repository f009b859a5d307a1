"""Token deltas made safe to show: collected, redacted as one text, and sent only up to a safe place.

Models cut their text anywhere, also in the middle of a secret. A piece of text is *settled* when no
secret can begin in it and end after it, whatever the model says next; only settled text is sent.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from kheish_site.lib.redaction import redact, secret_begun
from sessions_app.services.doorbell import bells
from sessions_app.services.doorbell.live import Delta

INTERVAL_SECONDS: Final = 0.05
_LOOKAHEAD: Final = 32
"""Visible characters that must follow a cut. Shapes with spaces in them (``Bearer …``, ``password: …``,
the first line of a private key) show what they are within this many characters of any space."""
_REST: Final = 4
"""How many times as long as the last look took the next one waits: a text without a place to cut grows."""
_TRIES: Final = 12
_LONGEST_PIECE: Final = 16_000
_PLACE: Final = re.compile(r"(?:(?<=\s)|(?<=[^\x00-\x7f]))(?=\S)")
"""Where text may be cut: where a word begins, or after a character that no shape is made of."""


class DeltaRelay:
    """The live text of one attempt of one step. Not thread safe: it belongs to whoever reads the model.

    ``push`` what the model says as it comes, ``close`` once it has said everything. The relay of an
    attempt that failed is dropped: readers throw its pieces away when they see the next ``attempt``.
    ``first`` names the attempt; the pieces that are sent are it with their own ``index`` and ``text``.
    """

    def __init__(
        self,
        first: Delta,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        send: Callable[[Delta], None] = bells.show,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._next = first
        self._interval = interval_seconds
        self._show = send
        self._clock = clock
        self._tail = ""
        self._pause = interval_seconds
        self._sent_at = clock()

    def push(self, text: str) -> None:
        """Add ``text``; at most once every interval what has settled is sent."""
        self._tail += text
        now = self._clock()
        if now - self._sent_at < self._pause:
            return
        cut = settled(self._tail)
        self._send(self._tail[:cut])
        self._tail = self._tail[cut:]
        self._sent_at = self._clock()
        self._pause = max(self._interval, (self._sent_at - now) * _REST)

    def close(self) -> None:
        """Send the rest: nothing more comes in this attempt."""
        self._send(self._tail)
        self._tail = ""

    def _send(self, text: str) -> None:
        clean = redact(text)
        for start in range(0, len(clean), _LONGEST_PIECE):
            self._show(replace(self._next, text=clean[start : start + _LONGEST_PIECE]))
            self._next = replace(self._next, index=self._next.index + 1)


def settled(text: str) -> int:
    """Return the length of the longest beginning of ``text`` that can be shown whatever follows."""
    whole = redact(text)
    for place in _places(text):
        if redact(text[:place]) + redact(text[place:]) == whole:
            return place
    return 0


def _places(text: str) -> Iterator[int]:
    """Yield the last few places to cut, the last one first, that leave enough text behind them."""
    limit = _before_lookahead(text, len(text) - secret_begun(text))
    if limit <= 0:
        return
    places = [match.start() for match in _PLACE.finditer(text, 0, limit + 1) if match.start() <= limit]
    yield from places[: -_TRIES - 1 : -1]


def _before_lookahead(text: str, end: int) -> int:
    """Return the greatest place that is at most ``end`` and has the lookahead behind it."""
    visible = 0
    for place in range(len(text) - 1, -1, -1):
        visible += not text[place].isspace()
        if visible >= _LOOKAHEAD:
            return min(place, end)
    return 0
