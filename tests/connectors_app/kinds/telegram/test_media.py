"""Photos and documents: fetched, asked for later, or named."""

import base64
from typing import Any

import pytest
import telegram

from connectors_app.kinds.telegram import files
from connectors_app.models import Connector, IngressReceipt
from connectors_app.services import ingress
from sessions_app.models import Run
from tests.connectors_app.kinds.telegram.rows import make_bot, message, plain, post
from tests.factories import code_of
from tests.support.telegram_server import Fault, TelegramServer, refusal

pytestmark = pytest.mark.django_db(transaction=True)


def document(
    update_id: int = 1, *, caption: str | None = "look", size: int | None = 5, **more: Any
) -> dict[str, Any]:
    given = {
        "file_id": "doc",
        "file_unique_id": "U",
        "file_name": "a/re\x07port.txt",
        "mime_type": "text/plain",
    }
    file = telegram.Document(**{**given, **more}, file_size=size)
    return plain(telegram.Update(update_id, message=message(None, document=file, caption=caption)))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events that reach the door, where files are still files."""
    events: list[Any] = []
    accept = ingress.accept

    def noted(connector: Connector, event: Any) -> Any:
        events.append(event)
        return accept(connector, event)

    monkeypatch.setattr(ingress, "accept", noted)
    return events


def test_a_document_is_fetched(server: TelegramServer, taken: list[Any]) -> None:
    server.files["doc"] = b"12345"
    post(make_bot(url=server.url), document())
    items = taken[0].input_items
    assert items[0] == {"type": "text", "text": "look"}
    assert items[1] == {
        "type": "inline_asset",
        "file_name": "report.txt",
        "media_type": "text/plain",
        "content_base64": base64.b64encode(b"12345").decode(),
    }


def test_of_a_photo_the_largest_size_is_fetched(server: TelegramServer, taken: list[Any]) -> None:
    server.files |= {"small": b"s", "large": b"\xff\xd8large", "huge": b"h"}
    sizes = [
        telegram.PhotoSize("small", "u1", 90, 90, 10),
        telegram.PhotoSize("large", "u2", 900, 900, 100),
        telegram.PhotoSize("huge", "u3", 9000, 9000, files.LARGEST_FILE_BYTES + 1),
    ]
    post(make_bot(url=server.url), plain(telegram.Update(1, message=message(None, photo=sizes))))
    [item] = taken[0].input_items
    assert item["file_name"] == "photo-u2.jpg"
    assert base64.b64decode(item["content_base64"]) == b"\xff\xd8large"


@pytest.mark.parametrize(
    ("fault", "method"),
    [
        (refusal(429, "Too Many Requests", retry_after=3), "getFile"),
        (Fault(status=502, body=b"<html>"), "getFile"),
        (Fault(status=0), "getFile"),
        (Fault(body=b"nonsense"), "getFile"),
        (Fault(status=500), "download"),
        (Fault(status=0), "download"),
    ],
)
def test_a_file_that_may_come_later_is_asked_for_later(
    server: TelegramServer, fault: Fault, method: str
) -> None:
    server.files["doc"] = b"12345"
    server.queue(method, fault)
    bot = make_bot(url=server.url)
    answer = post(bot, document())
    assert answer.status_code == 503
    assert code_of(answer) == "ingress_media_unavailable"
    assert int(answer["Retry-After"]) >= 1
    assert not IngressReceipt.objects.exists()
    assert post(bot, document()).status_code == 200
    assert Run.objects.count() == 1


def test_a_server_that_is_too_slow(server: TelegramServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BUDGET_SECONDS", 0.3)
    server.queue("getFile", Fault(hang=True))
    assert post(make_bot(url=server.url), document()).status_code == 503


@pytest.mark.parametrize(
    ("known", "size", "why"),
    [
        ({"doc": b"12345"}, files.LARGEST_FILE_BYTES + 1, "bytes"),
        ({}, 5, "wrong file_id"),
        ({"doc": b""}, 5, "empty"),
        ({"doc": b"x" * (files.LARGEST_FILE_BYTES + 1)}, None, "bytes"),
    ],
    ids=["said to be too large", "unknown", "empty", "too large"],
)
def test_a_file_that_never_comes_is_named(
    server: TelegramServer, known: dict[str, bytes], size: int | None, why: str
) -> None:
    server.files |= known
    assert post(make_bot(url=server.url), document(size=size)).status_code == 200
    text = Run.objects.get().input_items[0]["text"]
    assert text.startswith("look\n[report.txt (text/plain) was not fetched: ")
    assert why in text


def test_what_was_taken_is_not_fetched_again(server: TelegramServer) -> None:
    server.files["doc"] = b"12345"
    bot = make_bot(url=server.url)
    post(bot, document())
    calls = len(server.paths)
    assert post(bot, document())["Idempotent-Replayed"] == "true"
    assert len(server.paths) == calls


@pytest.mark.parametrize(
    ("media_type", "content"),
    [("application/x-msdownload", b"MZ\x90\x00"), ("image/png", b"this is no picture")],
    ids=["a kind nobody stores", "not what it says"],
)
def test_a_file_the_store_refuses_is_named(server: TelegramServer, media_type: str, content: bytes) -> None:
    server.files["doc"] = content
    file = telegram.Document("doc", "U", file_name="setup.bin", mime_type=media_type, file_size=len(content))
    update = plain(telegram.Update(1, message=message(None, document=file, caption="look")))
    assert post(make_bot(url=server.url), update).status_code == 200
    text = Run.objects.get().input_items[0]["text"]
    assert text.startswith(f"look\n[setup.bin ({media_type}) was not fetched: ")
