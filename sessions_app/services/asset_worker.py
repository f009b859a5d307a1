"""Opening foreign files, in a process of its own: a document or an image may never end, or eat the machine.

Reads one line of JSON from standard input, then the file; prints one line of JSON, then bytes. The request
says what to do (``task``) and its limits; the answer is ``{"error": …}`` or what was found.
"""

import json
import logging
import resource
import sys
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

Answer = tuple[dict[str, Any], bytes]
_QUALITIES: Final = (88, 75, 60, 40)


def pdf_text(request: dict[str, Any], content: bytes) -> Answer:
    """Return the text of the first pages: as many as the limits of pages, characters and time allow."""
    from pypdf import PdfReader

    began, texts, length = time.monotonic(), list[str](), 0
    reader = PdfReader(BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        return {"error": "the document is encrypted"}, b""
    total, reason = len(reader.pages), ""
    for page in reader.pages[: request["max_pages"]]:
        if time.monotonic() - began > request["seconds"]:
            reason = "reading them took too long"
            break
        try:
            text = page.extract_text()
        except Exception:  # noqa: BLE001  # whatever a page holds, the other pages count
            text = ""
        texts.append(text)
        length += len(text)
        if length > request["max_characters"]:
            reason = "the text is too long"
            break
    whole = "\n\n".join(texts).replace("\x00", "")[: request["max_characters"]]
    note = "" if len(texts) == total and not reason else f"pages 1 to {len(texts)} of {total}"
    return {"pages": total, "note": note}, whole.encode("utf-8", "replace")


def image(request: dict[str, Any], content: bytes) -> Answer:
    """Decode the image whole and return its size, and a smaller one if it is over what a model is sent."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # the size is looked at below, before anything is decoded
    with Image.open(BytesIO(content), formats=(request["format"],)) as opened:
        width, height = opened.size
        if max(width, height) > request["max_edge"] or width * height > request["max_pixels"]:
            return {"error": f"the image has {width} x {height} pixels", "too_large": True}, b""
        opened.load()
        found: dict[str, Any] = {"width": width, "height": height}
        edge, size = request["view_edge"], request["view_bytes"]
        if max(width, height) <= edge and len(content) <= size:
            return found, b""
        media_type, smaller = _smaller(opened, edge, size)
    return {**found, "view_media_type": media_type}, smaller


def _smaller(opened: Any, edge: int, size: int) -> tuple[str, bytes]:
    """Return the image upright, within ``edge`` pixels and ``size`` bytes."""
    from PIL import Image, ImageOps

    clear = "A" in opened.getbands() or "transparency" in opened.info
    full = "RGBA" if clear else "RGB"
    picture = opened.convert(full) if opened.mode in ("P", "1") else opened
    picture.thumbnail((edge, edge), Image.Resampling.BICUBIC)
    plain = ImageOps.exif_transpose(picture).convert(full)
    if clear:
        written = _written(plain, "PNG", optimize=True)
        if len(written) <= size:
            return "image/png", written
        backdrop = Image.new("RGB", plain.size, "white")
        backdrop.paste(plain, mask=plain.getchannel("A"))
        plain = backdrop
    for quality in _QUALITIES:
        written = _written(plain, "JPEG", quality=quality)
        if len(written) <= size:
            return "image/jpeg", written
    plain.thumbnail((edge // 2, edge // 2))
    return "image/jpeg", _written(plain, "JPEG", quality=_QUALITIES[-1])


def _written(picture: Any, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


TASKS: Final[dict[str, Callable[[dict[str, Any], bytes], Answer]]] = {"pdf_text": pdf_text, "image": image}


def main() -> None:
    """Answer the one request on standard input."""
    request = json.loads(sys.stdin.buffer.readline())
    cpu, memory = request["cpu_seconds"], request["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))  # ends even when whoever started this has died
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the limit is not kept, and setting it fails
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    logging.disable()
    warnings.simplefilter("ignore")
    try:
        answer, body = TASKS[request["task"]](request, sys.stdin.buffer.read())
    except Exception as error:  # noqa: BLE001  # the outer edge: a broken file may raise anything
        answer, body = {"error": f"it cannot be read ({type(error).__name__})"}, b""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
