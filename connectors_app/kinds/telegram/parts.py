"""The calls a message takes: texts of at most 4096 UTF-16 units, the last with the buttons, then the files.

The same message always makes the same parts, so the number of confirmed ones says where to go on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors_app.services.contracts import Attachment, Button, Parcel

LONGEST_TEXT: Final = 4096
LARGEST_PHOTO_BYTES: Final = 10 * 1000 * 1000
_LONGEST_LABEL: Final = 64
_PHOTOS: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
_SONGS: Final = frozenset({"audio/mpeg", "audio/mp3", "audio/mp4", "audio/x-m4a", "audio/m4a"})
_ASKED: Final = "Please choose:"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One call: ``method`` with ``parameters``, and the file to send as ``file_field``."""

    method: str
    parameters: dict[str, Any] = field(default_factory=dict)
    file_field: str = ""
    attachment: Attachment | None = None

    def as_document(self) -> "Part":
        """Return the same file as a document, for pictures Telegram does not take as photos."""
        return replace(self, method="sendDocument", file_field="document")


def plan(parcel: Parcel) -> list[Part]:
    """Return the calls a parcel takes, in order; none when there is nothing to say."""
    texts = list(pieces(parcel.content))
    if parcel.buttons and not texts:
        texts = [_ASKED]
    found = [Part(method="sendMessage", parameters={"text": text}) for text in texts]
    if parcel.buttons:
        found[-1].parameters["reply_markup"] = keyboard(parcel.buttons)
    return found + [_file(attachment) for attachment in parcel.attachments]


def pieces(text: str) -> Iterator[str]:
    """Cut ``text`` after an empty line, else a line, else a word, at worst inside a word.

    Telegram counts UTF-16 units and strips blanks at both ends; a blank piece is left out.
    """
    while text:
        room = _fitting(text)
        cut = room if room == len(text) else _seam(text, room)
        piece, text = text[:cut].rstrip(), text[cut:]
        if piece.strip():
            yield piece


def keyboard(rows: tuple[tuple[Button, ...], ...]) -> dict[str, Any]:
    """Return the buttons as Telegram draws them under a message."""
    return {
        "inline_keyboard": [
            [{"text": button.label[:_LONGEST_LABEL] or "·", "callback_data": button.data} for button in row]
            for row in rows
            if row
        ]
    }


def _fitting(text: str) -> int:
    """Return how many characters of ``text`` fit into one message."""
    units = 0
    for index, character in enumerate(text[:LONGEST_TEXT]):
        units += 2 if character > "\uffff" else 1
        if units > LONGEST_TEXT:
            return index
    return min(len(text), LONGEST_TEXT)


def _seam(text: str, room: int) -> int:
    """Return where to cut: after the last blank line, line or word that leaves the piece half full."""
    for seam in ("\n\n", "\n", " "):
        at = text.rfind(seam, room // 2, room)
        if at > 0:
            return at + len(seam)
    return room


def _file(attachment: Attachment) -> Part:
    kind = attachment.media_type.partition(";")[0].strip().lower()
    if kind in _PHOTOS and attachment.size_bytes <= LARGEST_PHOTO_BYTES:
        return Part(method="sendPhoto", file_field="photo", attachment=attachment)
    if kind in _SONGS:
        return Part(method="sendAudio", file_field="audio", attachment=attachment)
    return Part(method="sendDocument", file_field="document", attachment=attachment)
