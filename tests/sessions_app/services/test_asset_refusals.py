"""Files that are not what they say, or are made to hurt: each is refused or comes to nothing, and soon."""

import time
from dataclasses import replace
from typing import Any

import pytest

from kheish_site.lib.errors import KheishError
from sessions_app.models import Asset
from sessions_app.services import asset_child, assets
from tests.support.files import pdf, pdf_of, picture, png_bomb

pytestmark = pytest.mark.django_db
PNG, PDF = picture(), pdf("hello")


def refusal(data: bytes, media_type: str, file_name: str = "x") -> str:
    with pytest.raises(KheishError) as error:
        assets.store(data, media_type=media_type, file_name=file_name, principal="alice")
    assert not Asset.objects.exists()
    return error.value.error_code


def kept(data: bytes, media_type: str, file_name: str = "x") -> Asset:
    return assets.store(data, media_type=media_type, file_name=file_name, principal="alice")


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/jpeg"),
        (PDF, "image/png"),
        (b"hello", "image/png"),
        (b"hello", "application/pdf"),
        (b"hello", "audio/mpeg"),
        (PNG, "text/plain"),
        (PDF, "text/plain"),
        (b"a\x00b", "text/plain"),
        (b"not json", "application/json"),
        (b"  ", "application/json"),
    ],
)
def test_a_lying_type(data: bytes, media_type: str) -> None:
    assert refusal(data, media_type) == "asset_type_mismatch"


@pytest.mark.parametrize(
    "media_type", ["text/html", "image/svg+xml", "application/x-sh", "x", "video/mp4", "image/tiff"]
)
def test_a_type_nobody_can_use(media_type: str) -> None:
    assert refusal(b"<svg/>", media_type) == "asset_type_unsupported"


def test_octets_are_what_they_turn_out_to_be() -> None:
    assert kept(PNG, "application/octet-stream").media_type == "image/png"
    assert kept(b"a,b\n", "", "t.CSV").media_type == "text/csv"
    assert kept(b"# hi\n", "", "t.md").media_type == "text/markdown"
    assert kept(b"hi\n", "Text/Plain; charset=utf-8").media_type == "text/plain"
    assert kept(b"OggS" + bytes(20), "audio/opus").media_type == "audio/ogg"
    with pytest.raises(KheishError) as error:
        kept(b"MZ\x00\x01\x02", "application/octet-stream", "setup.exe")
    assert error.value.error_code == "asset_type_unsupported"
    assert str(error.value.detail).startswith(
        "setup.exe is of no type that is stored here; known: text/plain, "
    )


def test_a_refusal_names_the_file() -> None:
    for data, media_type, name, said in (
        (b"", "text/plain", "/tmp/empty.txt", "empty.txt is empty"),
        (b"", "text/plain", "", "the file is empty"),
        (b"<p>", "text/html", "a.html", "a.html is of type text/html, which is not stored here; known: "),
    ):
        with pytest.raises(KheishError, match=f"^{said}"):
            kept(data, media_type, name)


def test_nothing_and_too_much(settings: Any) -> None:
    assert refusal(b"", "text/plain") == "asset_content_invalid"
    settings.KHEISH = replace(settings.KHEISH, max_asset_bytes=1024)
    assert refusal(b"a" * 1025, "text/plain") == "asset_too_large"


@pytest.mark.parametrize("size", [(60_000, 60_000), (16_385, 1), (10_000, 10_000)])
def test_an_image_with_too_many_pixels(size: tuple[int, int]) -> None:
    assert refusal(png_bomb(*size), "image/png") == "asset_image_too_large"


@pytest.mark.parametrize(
    "data", [PNG[:-30], PNG[:12], b"\xff\xd8\xff" + b"junk" * 20, b"GIF89a" + b"\xff" * 9]
)
def test_a_broken_image(data: bytes) -> None:
    kind = {b"\x89P": "image/png", b"\xff\xd8": "image/jpeg", b"GI": "image/gif"}[data[:2]]
    assert refusal(data, kind) == "asset_content_invalid"


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.4\n",
        PDF[: len(PDF) // 3],
        pdf_of([b"x"], kids="2 0 R 2 0 R"),
        PDF.replace(b"/Length", b"/Lengxx"),
        b"%PDF-1.7\n" + b"<<" * 50_000,
    ],
    ids=["empty", "cut", "pages in a circle", "no length", "nested"],
)
def test_a_broken_document_is_kept_without_its_text(data: bytes) -> None:
    asset = kept(data, "application/pdf", "broken.pdf")
    assert assets.read(asset) == data
    assert assets.text(asset) or asset.text_note


@pytest.mark.slow
def test_a_document_that_would_never_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asset_child, "CPU_SECONDS", 1)
    endless = pdf_of([b"BT (x) Tj ET q Q " * 3_000_000], packed=True)
    assert len(endless) < 1_000_000
    began = time.monotonic()
    asset = kept(endless, "application/pdf", "endless.pdf")
    assert time.monotonic() - began < 20
    assert assets.text(asset) is None and asset.text_note


def test_a_worker_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asset_child, "WALL_SECONDS", 0.001)
    assert kept(PDF, "application/pdf").text_note == "reading it takes too long"


def test_only_the_first_pages_are_read() -> None:
    asset = kept(pdf(*(f"page-{number}" for number in range(130))), "application/pdf")
    text = assets.text(asset) or ""
    assert "page-127" in text and "page-128" not in text
    assert asset.text_note == "pages 1 to 128 of 130"


@pytest.mark.parametrize(
    ("given", "kept_as"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.txt", "a.txt"),
        ("a\r\nb\u202e.txt", "ab.txt"),
        ("..", "file.txt"),
        ("", "file.txt"),
        ("x" * 300 + ".txt", "x" * 196 + ".txt"),
    ],
)
def test_file_names_lead_nowhere(given: str, kept_as: str) -> None:
    assert kept(b"hello", "text/plain", given).file_name == kept_as
