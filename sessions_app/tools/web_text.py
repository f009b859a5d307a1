"""Bytes of a web answer into text for a model. Everything here takes time linear in its input."""

import codecs
import html
import re
import zlib
from collections.abc import Iterable
from typing import Final

from sessions_app.tools.base import ToolFailure

_TEXT_TYPES: Final = frozenset(
    {
        "application/json", "application/xml", "application/javascript", "application/ecmascript",
        "application/yaml", "application/x-yaml", "application/toml", "application/x-ndjson",
        "application/x-sh", "application/sql", "application/graphql", "application/rtf",
    }
)  # fmt: skip
_CHARSETS: Final = re.compile(r"^(utf|ascii|iso8859|latin|cp\d|gb|big5|shift_jis|euc|koi8|mac_|hz)")
_HIDDEN: Final = ("script", "style", "noscript", "template", "svg")
_BREAKING: Final = frozenset(
    {
        "p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "section",
        "article", "pre",
    }
)  # fmt: skip
_TAG: Final = re.compile(r"[/!?]?[a-zA-Z][a-zA-Z0-9]*")


def is_text(media_type: str) -> bool:
    """Say whether a media type (without parameters) is text."""
    return (
        media_type.startswith("text/")
        or media_type in _TEXT_TYPES
        or media_type.endswith(("+json", "+xml", "+yaml"))
    )


def parse_content_type(header: str) -> tuple[str, str]:
    """Return media type and charset, lower case; the charset is ``utf-8`` when absent or unusual."""
    media_type, *parameters = header.lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return media_type.strip(), _charset(value.strip(" \"'"))
    return media_type.strip(), "utf-8"


def _charset(name: str) -> str:
    """Keep to character sets: the registry also holds codecs that are slow, or are not text at all."""
    try:
        known = codecs.lookup(name).name.replace("-", "_")
    except (LookupError, ValueError):
        return "utf-8"
    return known if _CHARSETS.match(known) and known != "utf_7" else "utf-8"


def read_limited(chunks: Iterable[bytes], encoding: str, limit_bytes: int) -> tuple[bytes, bool]:
    """Return up to ``limit_bytes`` of the decoded body, and whether some is missing.

    Stops reading at the limit, and unpacks no more than it: a small body may unpack to a huge one.
    """
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise ToolFailure("response_unreadable", f"the answer is encoded as {encoding}")
    packed = encoding not in ("", "identity")
    unpacker = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever the header shows
    body = bytearray()
    try:
        for chunk in chunks:
            body += unpacker.decompress(chunk, limit_bytes + 1 - len(body)) if packed else chunk
            if len(body) > limit_bytes:
                return bytes(body[:limit_bytes]), True
    except zlib.error as error:
        raise ToolFailure("response_unreadable", "the answer cannot be unpacked") from error
    return bytes(body), False


def to_text(body: bytes, media_type: str, charset: str) -> str:
    """Return the body as text; of HTML, what a reader would see."""
    text = body.decode(charset, "replace").replace("\x00", "\ufffd")
    return html_to_text(text) if media_type in ("text/html", "application/xhtml+xml") else text


def html_to_text(markup: str) -> str:
    """Return the readable text of ``markup``: tags dropped, scripts and styles with their content."""
    start, *parts = _without_comments(markup).split("<")
    pieces = [start]
    hidden = ""
    for part in parts:
        word = _TAG.match(part)
        name = word.group().lower() if word else ""
        if hidden and name != "/" + hidden:
            continue
        hidden = ""
        if name in _HIDDEN:
            hidden = name
        elif name:
            pieces += ["\n" if name.lstrip("/") in _BREAKING else "", part.partition(">")[2]]
        else:
            pieces.append("<" + part)  # less than, not a tag
    lines = (" ".join(line.split()) for line in html.unescape("".join(pieces)).split("\n"))
    return "\n".join(line for line in lines if line)


def _without_comments(markup: str) -> str:
    pieces = markup.split("<!--")
    return pieces[0] + "".join(piece.partition("-->")[2] for piece in pieces[1:])
