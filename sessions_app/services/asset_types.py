"""Which files are accepted, and whether one is what it says it is. The first bytes decide, not the name.

The list is closed: what nobody here can check or use is not stored, under no name.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from kheish_site.lib.errors import BadRequest

Kind = Literal["text", "document", "image", "audio"]
OCTETS: Final = "application/octet-stream"
LONGEST_NAME: Final = 200


class TypeUnsupported(BadRequest):
    """Files of this type are not stored."""

    code, domain = "asset_type_unsupported", "assets"


class ContentInvalid(BadRequest):
    """There is no content, or it is not Base64."""

    code, domain = "asset_content_invalid", "assets"


class TypeMismatch(BadRequest):
    """The content is not of the type it was sent as."""

    code, domain = "asset_type_mismatch", "assets"


@dataclass(frozen=True, kw_only=True)
class AssetType:
    """An accepted type: what can be done with it, and how its files end."""

    media_type: str
    kind: Kind
    suffix: str


TYPES: Final = {
    known.media_type: known
    for known in (
        AssetType(media_type="text/plain", kind="text", suffix=".txt"),
        AssetType(media_type="text/csv", kind="text", suffix=".csv"),
        AssetType(media_type="text/markdown", kind="text", suffix=".md"),
        AssetType(media_type="application/json", kind="text", suffix=".json"),
        AssetType(media_type="application/pdf", kind="document", suffix=".pdf"),
        AssetType(media_type="image/png", kind="image", suffix=".png"),
        AssetType(media_type="image/jpeg", kind="image", suffix=".jpg"),
        AssetType(media_type="image/gif", kind="image", suffix=".gif"),
        AssetType(media_type="image/webp", kind="image", suffix=".webp"),
        AssetType(media_type="audio/wav", kind="audio", suffix=".wav"),
        AssetType(media_type="audio/mpeg", kind="audio", suffix=".mp3"),
        AssetType(media_type="audio/ogg", kind="audio", suffix=".ogg"),
        AssetType(media_type="audio/webm", kind="audio", suffix=".weba"),
    )
}
_KNOWN: Final = ", ".join(TYPES)
_OTHER_NAMES: Final = {
    "application/csv": "text/csv",
    "text/x-markdown": "text/markdown",
    "text/json": "application/json",
    "application/x-pdf": "application/pdf",
    "image/jpg": "image/jpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/opus": "audio/ogg",
    "application/ogg": "audio/ogg",
    "video/webm": "audio/webm",
}
_SUFFIXES: Final = {".csv": "text/csv", ".md": "text/markdown", ".markdown": "text/markdown",
                    ".json": "application/json"}  # fmt: skip
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_NAME_NOISE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_JSON: Final = re.compile(r'\s*(?:[{\["\-0-9]|(?:true|false|null)\s*\Z)')
_PDF_HEADER_WITHIN: Final = 1024  # bytes; readers accept that much in front of it


def judge(content: bytes, media_type: str, file_name: str) -> AssetType:
    """Return what ``content`` is. An absent type, or octets, is found out; any other has to be true.

    Raises: ContentInvalid (it is empty), TypeUnsupported, TypeMismatch.
    """
    if not content:
        raise ContentInvalid(f"{named(file_name)} is empty")
    said = media_type.partition(";")[0].strip().lower()
    said = _OTHER_NAMES.get(said, said)
    found = _recognise(content)
    if said in ("", OCTETS):
        known = TYPES.get(found or _of_text(file_name) or "")
        if known is None or (not found and decode(content) is None):
            raise TypeUnsupported(f"{named(file_name)} is of no type that is stored here; known: {_KNOWN}")
        return known
    known = TYPES.get(said)
    if known is None:
        raise TypeUnsupported(
            f"{named(file_name)} is of type {said[:100]}, which is not stored here; known: {_KNOWN}"
        )
    if known.kind == "text":
        true = not found and decode(content) is not None and _reads_as(content, known)
    else:
        true = found == known.media_type
    if not true:
        raise TypeMismatch(f"the content is not {known.media_type}{f' but {found}' if found else ''}")
    return known


def decode(content: bytes) -> str | None:
    """Return the text in ``content`` (UTF-8, UTF-16 with its mark, else Windows-1252), None if it is none."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        if encoding == "utf-16":
            return None
        text = content.decode("cp1252", "replace")
    return None if _CONTROLS.search(text) else text


def clean_name(file_name: str, known: AssetType) -> str:
    """Return a file name without folders and characters that deceive; one is made where none is left."""
    return _bare(file_name) or f"file{known.suffix}"


def named(file_name: str) -> str:
    """Return how a refusal calls a file."""
    return _bare(file_name) or "the file"


def _bare(file_name: str) -> str:
    flat = _NAME_NOISE.sub("", file_name.replace("\\", "/"))
    name = PurePosixPath(flat).name.strip(" .") if flat.strip("/") else ""
    if len(name) > LONGEST_NAME:
        suffix = PurePosixPath(name).suffix[:20]
        name = name[: LONGEST_NAME - len(suffix)] + suffix
    return name


def _recognise(content: bytes) -> str:
    """Return the type that the first bytes stand for, "" when they stand for none."""
    head = content[:16]
    for magic, media_type in (
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"OggS", "audio/ogg"),
        (b"\x1aE\xdf\xa3", "audio/webm"),
        (b"ID3", "audio/mpeg"),
    ):
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12], "")
    if b"%PDF-" in content[:_PDF_HEADER_WITHIN]:
        return "application/pdf"
    return "audio/mpeg" if _is_mpeg_frame(head) else ""


def _is_mpeg_frame(head: bytes) -> bool:
    """Tell a frame of MPEG audio from UTF-16, whose mark also begins with ones."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3
    return version != 1 and layer in (1, 2) and rate != 3 and head[2] >> 4 not in (0, 15)


def _of_text(file_name: str) -> str:
    return _SUFFIXES.get(PurePosixPath(file_name.lower()).suffix, "text/plain")


def _reads_as(content: bytes, known: AssetType) -> bool:
    """Tell whether a text begins as its type does; parsing JSON whole would cost many times its size."""
    if known.media_type != "application/json":
        return True
    return _JSON.match(decode(content) or "") is not None
