"""Text for Slack: Markdown as models write it becomes mrkdwn, and nothing in it becomes a command.

``&``, ``<`` and ``>`` are escaped first, so that a text can neither mention everybody (``<!channel>``) nor
hide an address behind another. Code keeps its text.
"""

import re
from typing import Final

LONGEST_TEXT: Final = 39_000
"""Characters in one message; Slack cuts beyond 40,000."""

_CODE: Final = re.compile(r"(```[\s\S]*?(?:```|\Z)|`[^`\n]+`)")
_BOLD: Final = re.compile(r"\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*")
_STRIKE: Final = re.compile(r"~~(?=\S)([^~\n]+?)(?<=\S)~~")
_HEADING: Final = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_LINK: Final = re.compile(r"!?\[([^\[\]\n]+)\]\(((?:https?://|mailto:)[^\s()|]+)\)")
_FENCE_LANGUAGE: Final = re.compile(r"\A```[A-Za-z0-9_+-]+\n")


def escaped(text: str) -> str:
    """Return ``text`` escaped, so that Slack shows it literally."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def of_markdown(text: str) -> str:
    """Return Markdown as escaped mrkdwn."""
    pieces = _CODE.split(escaped(text))
    return "".join(_code(piece) if index % 2 else _prose(piece) for index, piece in enumerate(pieces))


def _code(text: str) -> str:
    return _FENCE_LANGUAGE.sub("```\n", text)


def _prose(text: str) -> str:
    text = re.sub(r"^&gt;(?=[ \t])", ">", text, flags=re.MULTILINE)  # a quotation
    text = _HEADING.sub(lambda found: f"*{found[1].replace('*', '')}*", text)
    text = _BOLD.sub(r"*\1*", text)
    text = _STRIKE.sub(r"~\1~", text)
    return _LINK.sub(r"<\2|\1>", text)


def split(text: str, limit: int) -> list[str]:
    """Cut escaped text into pieces of at most ``limit`` characters that join to the same text.

    It cuts after a line or word that ends in the last quarter, never inside ``&amp;`` or ``<address|name>``.
    """
    pieces = []
    while len(text) > limit:
        at = _cut(text, limit)
        pieces.append(text[:at])
        text = text[at:]
    return [*pieces, text] if text else pieces


def _cut(text: str, limit: int) -> int:
    lowest = limit - limit // 4
    for mark in ("\n", " "):
        at = text.rfind(mark, lowest, limit)
        if at >= 0 and not _inside(text, at + 1):
            return at + 1
    return _inside(text, limit) or limit


def _inside(text: str, at: int) -> int:
    """Return the start of the entity or link that a cut at ``at`` would split, 0 without one."""
    entity = text.rfind("&", max(0, at - 4), at)
    if entity > 0 and re.match(r"&(amp|lt|gt);", text[entity:]) and ";" not in text[entity:at]:
        return entity
    link = text.rfind("<", 0, at)
    if link > 0 and ">" not in text[link:at]:
        return link
    return 0
