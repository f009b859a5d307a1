"""Text for somebody who decides by it: what the eye cannot see is written out.

A character without a mark, or one that moves its neighbours, makes two different calls look alike.
"""

import re
import unicodedata
from typing import Final

# Other (controls, formats, surrogates, private, unassigned) and the separators of lines and paragraphs.
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Marks and letters that are drawn as nothing: joiners, fillers, variation selectors, the empty Braille cell.
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_OTHER_THAN_PLAIN: Final = re.compile(r"[^\n\t -~]")


def visible(text: str) -> str:
    """Return the text with invisible characters as JSON writes them, \\uXXXX; newlines and tabs stay."""
    return _OTHER_THAN_PLAIN.sub(lambda match: _written_out(match.group()), text)


def shortened(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` characters, the last of them "…" where something is left out."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _written_out(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN_CATEGORIES and not _BLANK.match(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
