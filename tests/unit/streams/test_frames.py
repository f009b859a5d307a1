"""The two wires: SSE frames and WebSocket messages."""

import json

import pytest

from kheish_site.lib.errors import KheishError
from sessions_app.services import events
from sessions_app.services.doorbell.live import Delta, decode
from sessions_app.services.events import Event, Place
from sessions_app.streams import frames, messages, views
from sessions_app.streams.follow import Ended, Heartbeat
from sessions_app.streams.sources import RunSource, SessionSource

EVENT = Event(
    place=Place(5, 17),
    seq=3,
    kind="tool.returned",
    at="2026-11-21T10:00:00.000Z",
    session_pk=1,
    session_id="s",
    run_pk=2,
    run_id="run_1",
    data=json.dumps({"seq": 3, "payload": {"text": "a\nb"}}).encode(),
)
DELTA = Delta(
    session_pk=1, run_pk=2, run_id="run_1", session_id="s", step=1, attempt=1, index=4, text="two\nlines é"
)
RUN = RunSource(session_pk=1, run_pk=2, run_id="run_1")


def test_an_event_is_three_lines_and_a_blank_one() -> None:
    assert frames.event_frame(3, EVENT) == (
        b'id: 3\nevent: tool.returned\ndata: {"seq": 3, "payload": {"text": "a\\nb"}}\n\n'
    )
    assert frames.event_frame(EVENT.place, EVENT).startswith(b"id: 5-11\n")


def test_what_came_together_is_sent_together_within_bounds() -> None:
    frame = frames.event_frame(3, EVENT)
    source = SessionSource(session_pk=1)
    assert list(views._chunks(source, (EVENT,) * 3, left=10**6)) == [frame * 3]
    chunks = list(views._chunks(source, (EVENT,) * 1000, left=10**6))
    assert b"".join(chunks) == frame * 1000
    assert all(views._CHUNK_BYTES <= len(chunk) < views._CHUNK_BYTES + len(frame) for chunk in chunks[:-1])
    shared = views._chunks(source, (EVENT,) * 10, left=len(frame))
    assert next(shared) == frame * 2  # the share is used up, and what went over it went whole


def test_live_text_and_the_end_have_no_id() -> None:
    for frame in (frames.delta_frame(DELTA), frames.ended_frame("run_1", "failed")):
        assert b"\nid:" not in b"\n" + frame
        assert frame.count(b"\n") == 3
    assert frames.ended_frame("run_1", "failed") == (
        b'event: run.ended\ndata: {"run_id":"run_1","status":"failed"}\n\n'
    )


def test_a_delta_crosses_processes_unchanged() -> None:
    assert decode(DELTA.encode()) == DELTA
    for other in (b"", b"[]", b"{}", b"\xff", b'{"text": 1}', b'{"from": "the future"}'):
        assert decode(other) is None


@pytest.mark.parametrize("text", ["0", "7", "123456789012345678"])
def test_sequence_numbers(text: str) -> None:
    assert events.parse_seq(text) == int(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1 ", "1e3", "\u0661", "9" * 19])
def test_what_is_no_sequence_number(text: str) -> None:
    with pytest.raises(events.InvalidCursor):
        events.parse_seq(text)


@pytest.mark.parametrize("place", [Place(0, 0), Place(0, 1), Place(2**40, 2**50)])
def test_places_come_back_from_their_text(place: Place) -> None:
    assert events.parse_place(str(place)) == place


def test_messages_of_what_happened() -> None:
    event = json.loads(messages.item("session:s", SessionSource(session_pk=1), EVENT))
    assert event == {
        "topic": "session:s",
        "seq": 3,
        "type": "tool.returned",
        "at": "2026-11-21T10:00:00.000Z",
        "cursor": "3",
        "data": {"seq": 3, "payload": {"text": "a\nb"}},
    }
    ended = json.loads(messages.item("run:run_1", RUN, Ended("failed")))
    assert (ended["type"], ended["data"]) == ("run.ended", {"run_id": "run_1", "status": "failed"})
    assert json.loads(messages.item("run:run_1", RUN, DELTA))["type"] == "message.delta"
    assert messages.item("run:run_1", RUN, Heartbeat()) == ""


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "[]",
        "null",
        "{}",
        '{"op": 1}',
        '{"op": "publish"}',
        '{"op": "ping", "topic": "all"}',
        "[" * 3000,
        '{"op": "ping", "id": "' + "x" * 5000 + '"}',
    ],
)
def test_messages_nobody_understands(text: str | None) -> None:
    with pytest.raises(KheishError) as refusal:
        messages.read(text, 4096)
    assert refusal.value.error_code in ("invalid_message", "message_too_large")


def test_parts_of_a_message() -> None:
    message = messages.read('{"op": "subscribe", "topic": "run:r", "after": 17, "id": "a"}', 4096)
    assert messages.topic(message) == "run:r"
    assert messages.cursor(message) == "17"
    assert messages.echo(message) == {"id": "a"}
    assert messages.cursor({"after": "0-1"}) == "0-1"
    assert messages.cursor({}) == ""
    assert messages.echo({"id": ["x"]}) == {}
    for topic in (None, 3, "runs", "project:p"):
        with pytest.raises(messages.BadMessage):
            messages.topic({"topic": topic})
    for after in (True, 1.5, {}):
        with pytest.raises(events.InvalidCursor):
            messages.cursor({"after": after})
