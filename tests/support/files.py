"""Files as people send them, and as nobody should."""

import struct
import zlib
from io import BytesIO

from PIL import Image


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6), *, mode: str = "RGB") -> bytes:
    """A small image."""
    buffer = BytesIO()
    Image.new(mode, size, "red").save(buffer, kind)
    return buffer.getvalue()


def png_bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few bytes that claims to be huge."""
    rows = zlib.compress(b"\x00" * 1000)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", rows), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pdf(*texts: str) -> bytes:
    """A document with one page for each text."""
    return pdf_of([f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode() for text in texts])


def pdf_of(streams: list[bytes], *, packed: bool = False, kids: str = "") -> bytes:
    """A document whose pages hold these content streams; ``kids`` replaces the list of its pages."""
    pages = [4 + 2 * number for number in range(len(streams))]
    listed = kids or " ".join(f"{number} 0 R" for number in pages)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{listed}] /Count {len(streams)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, stream in zip(pages, streams, strict=True):
        body = zlib.compress(stream, 9) if packed else stream
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        filters = "/Filter /FlateDecode " if packed else ""
        objects.append(f"<< {filters}/Length {len(body)} >>\nstream\n".encode() + body + b"\nendstream")
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    tail = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + head.encode() + tail.encode()
