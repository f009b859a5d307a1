"""What leaves for a chat, call by call, and what each failure means."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from connectors_app.kinds.telegram import api, sender
from connectors_app.kinds.telegram.parts import pieces
from connectors_app.models import IngressRefusal
from connectors_app.services import connectors
from connectors_app.services.contracts import (
    Ambiguous,
    Attachment,
    Button,
    Parcel,
    Refused,
    RetryLater,
    SendFailure,
    Sent,
)
from kheish_site.lib.canonical import sha256_hex
from tests.connectors_app.kinds.telegram.rows import make_bot
from tests.support.telegram_server import TOKEN, Fault, TelegramServer, refusal

pytestmark = pytest.mark.django_db(transaction=True)
PLACE = {"connector": "desk", "chat_id": 100}
SECRET_PART = TOKEN.partition(":")[2]


def parcel(content: str = "hello", **more: Any) -> Parcel:
    given: dict[str, Any] = {
        "delivery_id": "dlv_1",
        "attempt": 1,
        "idempotency_key": "kheish:dlv_1",
        "address": PLACE,
        "session_id": "desk",
        "thread_id": "",
        "run_id": "run_1",
        "content": content,
    }
    return Parcel(**(given | more))


def attachment(name: str, media_type: str, content: bytes = b"bytes", size: int = 0) -> Attachment:
    return Attachment(
        asset_id=f"asset_{name}",
        media_type=media_type,
        file_name=name,
        sha256=sha256_hex(content),
        size_bytes=size or len(content),
        read=lambda: content,
    )


def send(what: Parcel) -> Sent:
    return sender.TelegramSender().send(what)


def test_a_short_answer_is_one_plain_message(server: TelegramServer) -> None:
    make_bot(url=server.url)
    address = PLACE | {"message_thread_id": 12, "reply_to_message_id": 7}
    sent = send(parcel("*not* <b>markup</b> _at_ all", address=address))
    [call] = server.calls
    assert call.method == "sendMessage"
    assert call.parameters == {
        "chat_id": 100,
        "message_thread_id": 12,
        "reply_parameters": {"message_id": 7, "allow_sending_without_reply": True},
        "text": "*not* <b>markup</b> _at_ all",
    }
    assert sent == Sent(reference="100/900", detail={"message_ids": [900]})


@pytest.mark.parametrize(
    "text",
    [
        "x" * 9000,
        "\U0001f9ef" * 5000,
        "word " * 2000,
        ("line\n" * 50 + "\n") * 40,
        "a" * 4095 + "\U0001f9ef" + "b",
        "  \n" * 3000 + "end",
        "",
        " \n ",
    ],
    ids=[
        "one word",
        "fire extinguishers",
        "words",
        "paragraphs",
        "a pair on the seam",
        "blanks",
        "none",
        "blank",
    ],
)
def test_pieces_fit_and_lose_nothing_but_blanks(text: str) -> None:
    found = list(pieces(text))
    assert all(0 < len(piece.encode("utf-16-le")) // 2 <= 4096 for piece in found)
    assert all(piece.strip() for piece in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_pieces_end_where_a_sentence_does() -> None:
    assert list(pieces("a" * 3000 + "\n\n" + "b" * 3000)) == ["a" * 3000, "b" * 3000]
    assert list(pieces("a" * 3000 + " " + "b" * 3000)) == ["a" * 3000, "b" * 3000]


def test_texts_then_files_then_it_is_sent(server: TelegramServer) -> None:
    make_bot(url=server.url)
    kept: list[dict[str, Any]] = []
    files = (
        attachment("plot.png", "image/png"),
        attachment("song.mp3", "audio/mpeg"),
        attachment('r\u00e9sum\u00e9 "1".pdf', "application/pdf", b"%PDF"),
        attachment("big.jpg", "image/jpeg", size=11_000_000),
    )
    address = PLACE | {"reply_to_message_id": 7}
    buttons = ((Button(label="Allow", data="kh1:a"), Button(label="Deny", data="kh1:b")),)
    sent = send(parcel("x" * 5000, address=address, attachments=files, buttons=buttons, keep=kept.append))
    assert [call.method for call in server.calls] == [
        "sendMessage",
        "sendMessage",
        "sendPhoto",
        "sendAudio",
        "sendDocument",
        "sendDocument",
    ]
    assert ["reply_parameters" in call.parameters for call in server.calls] == [True] + [False] * 5
    assert ["reply_markup" in call.parameters for call in server.calls] == [False, True] + [False] * 4
    rows = server.calls[1].parameters["reply_markup"]["inline_keyboard"]
    assert rows == [[{"text": "Allow", "callback_data": "kh1:a"}, {"text": "Deny", "callback_data": "kh1:b"}]]
    assert server.calls[4].files["document"][1:] == ("application/pdf", b"%PDF")
    assert sent.detail["message_ids"] == [900, 901, 902, 903, 904, 905]
    assert kept[-1] == {"message_ids": [900, 901, 902, 903, 904, 905], "parts": 6}
    assert len(kept) == 6


def test_what_was_confirmed_is_not_sent_again(server: TelegramServer) -> None:
    make_bot(url=server.url)
    kept: list[dict[str, Any]] = []
    server.queue("sendPhoto", refusal(429, "Too Many Requests: retry after 4", retry_after=4))
    files = (attachment("plot.png", "image/png"),)
    with pytest.raises(RetryLater) as later:
        send(parcel("x" * 5000, attachments=files, keep=kept.append))
    assert later.value.retry_after_seconds == 4
    assert later.value.error_class == "rate_limited"
    assert send(parcel("x" * 5000, attachments=files, progress=kept[-1], keep=kept.append)).detail == {
        "message_ids": [900, 901, 902]
    }
    assert [call.method for call in server.calls] == ["sendMessage", "sendMessage", "sendPhoto", "sendPhoto"]


def test_a_delivery_that_is_no_longer_ours_stops(server: TelegramServer) -> None:
    make_bot(url=server.url)

    class Lost(Exception):
        pass

    def keep(progress: dict[str, Any]) -> None:
        raise Lost

    with pytest.raises(Lost):
        send(parcel("x" * 5000, keep=keep))
    assert len(server.calls) == 1


def test_a_question_without_words_still_shows_its_buttons(server: TelegramServer) -> None:
    make_bot(url=server.url)
    send(parcel("", buttons=((Button(label="Yes", data="y"),),)))
    assert server.calls[0].parameters["text"]


@pytest.mark.parametrize(
    ("fault", "error", "error_class", "said"),
    [
        (refusal(403, "Forbidden: bot was blocked by the user"), Refused, "terminal", "blocked"),
        (refusal(400, "Bad Request: chat not found"), Refused, "terminal", "chat not found"),
        (refusal(401, "Unauthorized"), Refused, "terminal", "401"),
        (refusal(404, "Not Found"), Refused, "terminal", "404"),
        (
            refusal(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1007),
            Refused,
            "terminal",
            "-1007",
        ),
        (refusal(429, "Too Many Requests", retry_after=99_999), RetryLater, "rate_limited", "429"),
        (Fault(status=429, headers={"Retry-After": "7"}), RetryLater, "rate_limited", "429"),
        (refusal(403, "Forbidden", status=200), Refused, "terminal", "403"),
        (Fault(status=502, body=b"<html>"), RetryLater, "status", "502"),
        (refusal(500, "Internal Server Error"), RetryLater, "status", "500"),
        (Fault(status=413), Refused, "terminal", "413"),
        (Fault(status=302, headers={"Location": "http://127.0.0.1:1/"}), Refused, "terminal", "302"),
        (Fault(body=b"nonsense"), Ambiguous, "decode", "understood"),
        (Fault(body=b'{"ok": true}'), Ambiguous, "decode", "understood"),
        (Fault(body=b'{"ok": true, "result": {}}'), Ambiguous, "decode", "no message"),
        (Fault(body=b"[" * 100_000), Ambiguous, "decode", "understood"),
        (Fault(status=0, after=True), Ambiguous, "connect", "had left"),
        (Fault(hang=True, after=True), Ambiguous, "timeout", "had left"),
    ],
)
def test_what_each_failure_means(
    server: TelegramServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    error: type[SendFailure],
    error_class: str,
    said: str,
) -> None:
    monkeypatch.setattr(sender, "CALL_SECONDS", 2.0)
    make_bot(url=server.url)
    server.queue("sendMessage", fault)
    with pytest.raises(SendFailure) as failed:
        send(parcel())
    assert type(failed.value) in (error, api.ApiRefused if error is Refused else error)
    assert failed.value.error_class == error_class
    assert said in failed.value.message
    if isinstance(failed.value, RetryLater) and error_class == "rate_limited":
        assert 1 <= (failed.value.retry_after_seconds or 0) <= 3600
    assert len(server.messages) == (1 if fault.after else 0)


def test_nobody_there(server: TelegramServer) -> None:
    make_bot(url="http://127.0.0.1:9")
    with pytest.raises(RetryLater) as failed:
        send(parcel())
    assert failed.value.error_class == "connect"


def test_a_message_whose_reply_target_is_refused_goes_without_it(server: TelegramServer) -> None:
    make_bot(url=server.url)
    server.queue("sendMessage", refusal(400, "Bad Request: message to be replied not found"))
    send(parcel(address=PLACE | {"reply_to_message_id": 7}))
    assert ["reply_parameters" in call.parameters for call in server.calls] == [True, False]


def test_a_picture_telegram_does_not_take_goes_as_a_document(server: TelegramServer) -> None:
    make_bot(url=server.url)
    server.queue("sendPhoto", refusal(400, "Bad Request: PHOTO_INVALID_DIMENSIONS"))
    send(parcel("", attachments=(attachment("tall.png", "image/png"),)))
    assert [call.method for call in server.calls] == ["sendPhoto", "sendDocument"]
    assert server.calls[1].files["document"][0] == "tall.png"


def _without_token() -> None:
    connectors.put("telegram", "desk", {"include_self_output": False}, {"bot_token": None}, principal="alice")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda: connectors.put("telegram", "desk", {"allowed_chat_ids": [5]}, {}, principal="a"), Refused),
        (lambda: connectors.set_enabled("telegram", "desk", False), RetryLater),
        (lambda: connectors.delete("telegram", "desk"), Refused),
        (_without_token, Refused),
    ],
    ids=["no longer allowed", "disabled", "removed", "without token"],
)
def test_a_connector_that_changed(
    server: TelegramServer, change: Callable[[], Any], error: type[SendFailure]
) -> None:
    make_bot(url=server.url)
    change()
    with pytest.raises(error):
        send(parcel())
    assert server.paths == []


@pytest.mark.parametrize(
    "what",
    [
        parcel(" \n"),
        parcel("", attachments=(attachment("film.mp4", "video/mp4", size=60_000_000),)),
    ],
    ids=["nothing", "too large"],
)
def test_what_cannot_be_sent(server: TelegramServer, what: Parcel) -> None:
    make_bot(url=server.url)
    with pytest.raises(Refused):
        send(what)
    assert server.calls == []


def test_telegram_knows_no_keys() -> None:
    assert not sender.TelegramSender().honours_keys(PLACE)


def test_the_token_never_shows(
    server: TelegramServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "CALL_SECONDS", 1.0)
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    bot = make_bot(url=server.url)
    assert TOKEN not in repr(api.bot_of(bot))
    caplog.clear()
    said = []
    faults = [
        refusal(400, f"Bad Request: no such path /bot{TOKEN}/sendMessage"),
        Fault(status=502, body=TOKEN.encode()),
        Fault(body=TOKEN.encode()),
        Fault(status=0),
        Fault(hang=True),
    ]
    for fault in faults:
        server.queue("sendMessage", fault)
        with pytest.raises(SendFailure) as failed:
            send(parcel())
        said.append("".join(traceback.format_exception(failed.value)))
    connectors.put("telegram", "desk", {"api_base_url": "http://127.0.0.1:9"}, {}, principal="alice")
    with pytest.raises(SendFailure) as failed:
        send(parcel())
    said.append("".join(traceback.format_exception(failed.value)))
    assert server.paths, "it was used"
    assert SECRET_PART not in "\n".join(said)
    assert SECRET_PART not in caplog.text
    assert not IngressRefusal.objects.filter(detail__contains=SECRET_PART).exists()
