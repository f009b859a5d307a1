"""Images: opened whole once, when they come in; a model is sent one of bounded size."""

from dataclasses import dataclass
from typing import Final

from kheish_site.lib.errors import BadRequest, PayloadTooLarge
from sessions_app.services import asset_child
from sessions_app.services.asset_types import AssetType

MAX_EDGE: Final = 16_384
MAX_PIXELS: Final = 50_000_000
VIEW_EDGE: Final = 2_048
VIEW_BYTES: Final = 4 * 1024 * 1024
_FORMATS: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}


class ImageBroken(BadRequest):
    """The image cannot be decoded."""

    code, domain = "asset_content_invalid", "assets"


class ImageTooLarge(PayloadTooLarge):
    """The image has more pixels than are opened here, however small its file is."""

    code, domain = "asset_image_too_large", "assets"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Width and height in pixels, and the smaller image for models (b"" where the file itself will do)."""

    width: int
    height: int
    view: bytes
    view_media_type: str


def measure(content: bytes, known: AssetType) -> Measured:
    """Return what an image is. Raises: ImageBroken, ImageTooLarge."""
    request = {
        "task": "image",
        "format": _FORMATS[known.media_type],
        "max_edge": MAX_EDGE,
        "max_pixels": MAX_PIXELS,
        "view_edge": VIEW_EDGE,
        "view_bytes": VIEW_BYTES,
    }
    found = asset_child.ask(request, content)
    if found.facts.get("too_large"):
        raise ImageTooLarge(f"{found.error}; {MAX_EDGE} on an edge and {MAX_PIXELS} in all are accepted")
    if found.error:
        raise ImageBroken(f"the image is refused: {found.error}")
    return Measured(
        width=found.facts["width"],
        height=found.facts["height"],
        view=found.body,
        view_media_type=found.facts.get("view_media_type", ""),
    )
