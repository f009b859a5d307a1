"""What a run is given: texts, stored files, and files sent along. The run keeps references, never bytes.

``prepare`` opens the files that came along, outside any transaction; ``keep`` stores them and makes the
message a model reads, inside the one that accepts the run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kheish_site.lib.errors import BadRequest, PayloadTooLarge
from kheish_site.lib.redaction import redact
from sessions_app.models import Asset
from sessions_app.services import assets
from sessions_app.services.assets import OpenedFile

MOST_ASSETS: Final = 10
"""Files of one input, however they were named."""
LARGEST_TEXT: Final = 1_048_576
"""Characters of all texts of one input together, as clients send it."""
LONGEST_DOCUMENT: Final = 64_000
"""Characters of one file that the message holds; the whole stays in the asset."""
LONGEST_DOCUMENTS: Final = 256_000
"""Characters of all files of one message."""

Item = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An accepted input: what the run's row holds, and the assets that are to be referred to."""

    items: list[dict[str, Any]]
    message: dict[str, Any]
    assets: list[Asset] = field(default_factory=list)


def check_text(texts: Iterable[str]) -> None:
    """Raise PayloadTooLarge(content_too_large) when an input's texts are longer than ``LARGEST_TEXT``."""
    length = sum(map(len, texts))
    if length > LARGEST_TEXT:
        raise PayloadTooLarge(
            f"the input has {length} characters; {LARGEST_TEXT} are accepted",
            code="content_too_large",
            domain="runs",
        )


def read(content: str, input_items: Sequence[Item], attachments: Sequence[Item]) -> list[dict[str, Any]]:
    """Return one list of items from either way of saying it, files that came along opened.

    Raises: BadRequest (input_ambiguous, input_empty, input_item_unsupported, too_many_attachments), and what
    ``assets.prepare`` raises.
    """
    if input_items and (content or attachments):
        raise _refused("input_ambiguous", "give input_items, or content and attachments, not both")
    said = [{"type": "text", "text": content}] if content or not attachments else []
    items = [*said, *map(_attached, attachments)] if not input_items else [dict(item) for item in input_items]
    for item in items:
        if item.get("type") not in ("text", "asset_reference", "inline_asset"):
            kind = str(item.get("type"))[:40]
            raise _refused("input_item_unsupported", f"input items of type {kind!r} are not supported here")
    files = sum(item["type"] != "text" for item in items)
    if files > MOST_ASSETS:
        raise _refused("too_many_attachments", f"{files} files in one input; {MOST_ASSETS} are accepted")
    if not files and not any(str(item.get("text", "")).strip() for item in items):
        raise _refused("input_empty", "a run needs some input")
    return prepare(items)


def prepare(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Open the files among ``items`` (also attachments), so that accepting them is quick. Repeating is free.

    Touches no row: call it before the transaction. Raises: what ``assets.prepare`` raises.
    """
    return [_prepared(item) if "content_base64" in item else dict(item) for item in items]


def keep(items: Sequence[Item], *, principal: str) -> Kept:
    """Store the files among items that ``read`` returned, and return what the run is to hold.

    Needs an open transaction when there is any file; what it returns is held until that ends.
    Raises: AssetMissing, IntegrityMismatch.
    """
    found = _assets(items, principal)
    kept = [_kept(item, found.get(index)) for index, item in enumerate(items)]
    message: dict[str, Any] = {"role": "user", "content": _content(kept, found)}
    pictures = [_picture(asset) for asset in found.values() if asset.image_width is not None]
    if pictures:
        message["parts"] = pictures
    return Kept(items=kept, message=message, assets=list(found.values()))


def _attached(item: Item) -> dict[str, Any]:
    kind = "asset_reference" if "asset_id" in item else "inline_asset"
    return {**item, "type": kind}


def _prepared(item: Item) -> dict[str, Any]:
    ready = assets.prepare(
        assets.from_base64(str(item["content_base64"])),
        media_type=str(item.get("media_type") or ""),
        file_name=str(item.get("file_name") or ""),
    )
    said = {name: value for name, value in item.items() if name == "type"}
    return {**said, "prepared": ready}


def _assets(items: Sequence[Item], principal: str) -> dict[int, Asset]:
    """Return the asset of each item that has one, by the item's place."""
    sent = {n: _ready(item) for n, item in enumerate(items) if item["type"] == "inline_asset"}
    named = {
        n: str(item.get("asset_id")) for n, item in enumerate(items) if item["type"] == "asset_reference"
    }
    if not sent and not named:
        return {}
    before = assets.get_many(named.values()) if named else {}
    hashes = {sha256 for asset in before.values() for sha256 in assets.hashes_of(asset)}
    assets.hold(hashes.union(*(ready.hashes for ready in sent.values())))
    stored = {n: assets.keep(ready, principal=principal) for n, ready in sent.items()}
    still = assets.get_many(named.values()) if named else {}
    stored |= {n: still[asset_id] for n, asset_id in named.items()}
    return dict(sorted(stored.items()))


def _ready(item: Item) -> OpenedFile:
    found = item.get("prepared")
    if not isinstance(found, OpenedFile):
        raise _refused("asset_content_invalid", "an inline asset needs content_base64")
    return found


def _kept(item: Item, asset: Asset | None) -> dict[str, Any]:
    if asset is None:
        return {"type": "text", "text": redact(str(item.get("text", "")))}
    return {
        "type": "asset_reference",
        "asset_id": asset.asset_id,
        "file_name": asset.file_name,
        "media_type": asset.media_type,
        "size_bytes": asset.size_bytes,
    }


def _content(kept: Sequence[Item], found: Mapping[int, Asset]) -> str:
    """Return the message's text: the texts as they are, each file in its place, by its name or its words."""
    left, pieces = LONGEST_DOCUMENTS, list[str]()
    for index, item in enumerate(kept):
        if index not in found:
            pieces.append(item["text"])
            continue
        shown = _shown(found[index], min(left, LONGEST_DOCUMENT))
        left -= min(left, len(shown))
        pieces.append(shown)
    return "\n\n".join(pieces)


def _shown(asset: Asset, room: int) -> str:
    """Return what a model reads of a file. The name and the words in it are the sender's, not ours."""
    size = (
        f"{asset.image_width} x {asset.image_height} pixels"
        if asset.image_width
        else f"{asset.size_bytes} bytes"
    )
    what = f"file {asset.file_name!r}, {asset.media_type}, {size}, {asset.asset_id}"
    words = assets.text(asset) or ""
    if not words or not room:
        return f"[Attached {what}{f'; no text: {asset.text_note}' if asset.text_note else ''}]"
    clipped = assets.clipped(words, room)
    cut = f"the first {len(clipped)} of {len(words)} characters" if len(clipped) < len(words) else ""
    notes = "; ".join(note for note in (asset.text_note, cut) if note)
    return f"[Attached {what}{f'; {notes}' if notes else ''}]\n{clipped}\n[End of {asset.asset_id}]"


def _picture(asset: Asset) -> dict[str, Any]:
    return {
        "type": "image",
        "asset_id": asset.asset_id,
        "media_type": asset.view_media_type or asset.media_type,
        "sha256": asset.view_sha256 or asset.sha256,
    }


def _refused(code: str, detail: str) -> BadRequest:
    return BadRequest(detail, code=code, domain="runs")
