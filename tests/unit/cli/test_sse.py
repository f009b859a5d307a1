"""Streams: the wire format, and following across dropped connections and restarts."""

import io
import time

import pytest

from kheish_site.cli import sse
from kheish_site.cli.client import Client
from kheish_site.cli.exits import CliError, TimedOut
from kheish_site.cli.transport import Problem, Unreachable
from tests.unit.cli.fake_service import ENDED, TOKEN, Answer, Stream, frame, problem

STREAM = "/v1/runs/run_1/stream"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_PAUSE_SECONDS", 0.02)


@pytest.fixture
def outages() -> list[str]:
    return []


@pytest.fixture
def client(service, outages) -> Client:
    return Client(service.url, TOKEN, on_outage=lambda: outages.append("outage"))


def parsed(text: bytes) -> list[sse.StreamEvent]:
    return list(sse.parse(io.BytesIO(text)))


def seqs(client: Client, **options) -> list[str]:
    return [event.id or event.name for event in client.runs("run_1").stream(**options)]


def test_fields_comments_and_line_ends() -> None:
    events = parsed(
        b': hi\r\nid: 7\r\nevent: a.b\r\ndata: {"x":\r\ndata: 1}\r\n\r\n:heartbeat\n\ndata:plain\n\n'
    )
    assert events == [
        sse.StreamEvent(name="a.b", id="7", data={"x": 1}),
        sse.StreamEvent(name="message", id="", data="plain"),
    ]


def test_an_unfinished_event_is_not_given_out() -> None:
    assert parsed(b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n") == [sse.StreamEvent(name="message", id="1", data=1)]


def test_a_monstrous_line_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE_BYTES", 10)
    with pytest.raises(CliError, match="too large"):
        parsed(b"data: 0123456789\n\n")


def test_a_whole_stream_ends_with_run_ended(service, client, outages) -> None:
    service.on("GET", STREAM, Stream([frame(1, "run.started"), frame(2, "run.completed"), ENDED]))
    assert seqs(client) == ["1", "2", "run.ended"]
    assert service.last("GET").query == {"cursor": "0"}
    assert outages == []


def test_cut_at_every_event_gives_each_once(service, client, outages) -> None:
    frames = {seq: frame(seq, "message.created") for seq in range(1, 21)}

    def next_one(seen) -> Stream:
        after = int(seen.headers.get("last-event-id", "0"))
        if after == 20:
            return Stream([ENDED])
        half = frames[after + 2][:25] if after + 2 in frames else b": cut\n"
        return Stream([frames[after + 1], half], drop=True)

    service.on("GET", STREAM, next_one)
    assert seqs(client) == [*map(str, range(1, 21)), "run.ended"]
    assert outages


def test_repeated_events_are_dropped(service, client) -> None:
    first = Stream([frame(1, "a"), frame(2, "b")], drop=True)
    service.on("GET", STREAM, [first, Stream([frame(1, "a"), frame(2, "b"), frame(3, "c"), ENDED])])
    assert seqs(client) == ["1", "2", "3", "run.ended"]


def test_an_end_with_the_id_of_the_last_entry_still_ends(service, client) -> None:
    service.on("GET", STREAM, Stream([frame(1, "a"), b"id: 1\nevent: run.ended\ndata: {}\n\n"]))
    assert seqs(client) == ["1", "1"]


def test_no_content_ends(service, client) -> None:
    service.on("GET", STREAM, Answer(204))
    assert seqs(client) == []


def test_a_restart_goes_unnoticed(service, client, outages) -> None:
    def restarting(seen) -> object:
        if "last-event-id" not in seen.headers:
            return Stream([frame(1, "a")], drop=True)
        return Stream([frame(2, "b"), ENDED])

    service.on("GET", STREAM, restarting)
    stream = client.runs("run_1").stream()
    assert next(stream).id == "1"
    service.stop()
    service.start()
    assert [event.id or event.name for event in stream] == ["2", "run.ended"]
    assert outages == ["outage"]


def test_an_event_without_data_moves_the_resume_point(service, client) -> None:
    service.on("GET", STREAM, [Stream([b"id: 5\ndata:\n\n"], drop=True), Stream([ENDED])])
    assert seqs(client, cursor=None) == ["run.ended"]
    assert service.last("GET").headers["last-event-id"] == "5"


def test_draining_is_an_outage_not_an_end(service, client, outages) -> None:
    service.on("GET", STREAM, [problem(503, "daemon_draining", "restarting"), Stream([ENDED])])
    assert seqs(client) == ["run.ended"]
    assert outages == ["outage"]


def test_a_refusal_is_raised(service, client) -> None:
    service.on("GET", STREAM, problem(404, "run_not_found", "no run"))
    with pytest.raises(Problem):
        seqs(client)


def test_an_address_that_never_answered_raises_at_once(service, client) -> None:
    service.stop()
    with pytest.raises(Unreachable):
        seqs(client)


def test_patience_ends(service, client, monkeypatch) -> None:
    service.on("GET", STREAM, Stream([frame(1, "a")], drop=True))
    stream = iter(sse.Follower(client._transport, STREAM, patience_seconds=0.1))
    next(stream)
    service.stop()
    with pytest.raises(Unreachable):
        next(stream)


def test_the_deadline_holds_on_a_silent_stream(service, client) -> None:
    def silent(seen) -> Stream:
        time.sleep(1)
        return Stream([ENDED])

    service.on("GET", STREAM, silent)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        seqs(client, deadline=began + 0.2)
    assert time.monotonic() - began < 0.9


def test_the_deadline_holds_under_heartbeats(service, client) -> None:
    class Beats(list):
        def __iter__(self):
            for _ in range(40):
                time.sleep(0.05)
                yield b": heartbeat\n\n"

    service.on("GET", STREAM, Stream(Beats()))
    began = time.monotonic()
    with pytest.raises(TimedOut):
        seqs(client, deadline=began + 0.3)
    assert time.monotonic() - began < 1.5
