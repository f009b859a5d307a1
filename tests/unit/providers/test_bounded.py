"""A server may send without end, or little that unpacks to much: the call ends, and soon."""

import time
import zlib
from collections.abc import Callable

import pytest

from sessions_app.providers import bounded, openai_stream
from sessions_app.providers.base import ProviderError
from tests.support.fault_server import Exchange, FaultServer, delta, finish, sse, stream, text, tool
from tests.unit.providers.conftest import Ask

Bytes = Callable[[], bytes]


def endless(
    piece: Bytes, *, status: int = 200, first: bytes = b"", **headers: str
) -> Callable[[Exchange], None]:
    def answer(exchange: Exchange) -> None:
        exchange.close()
        exchange.head(status, connection="close", **{"content_type": "text/event-stream"} | headers)
        exchange.send(first)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            exchange.send(piece())

    return answer


def packed(data: bytes) -> Bytes:
    packer = zlib.compressobj(wbits=31)
    return lambda: packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LONGEST_ANSWER_BYTES", 1024 * 1024)
    monkeypatch.setattr(bounded, "LONGEST_LINE_BYTES", 256 * 1024)
    monkeypatch.setattr(openai_stream, "LONGEST_ANSWER_CHARACTERS", 128 * 1024)


@pytest.mark.parametrize(
    "answer",
    [
        endless(lambda: b": still here\n\n" * 100),
        endless(lambda: b"x" * 65536, first=b"data: "),
        endless(packed(b": still here\n\n" * 10_000), content_encoding="gzip"),
        endless(packed(b"\0" * 10_000_000), content_encoding="gzip"),
        endless(lambda: sse(text("word " * 1000))),
        endless(lambda: b"[" * 65536, content_type="application/json"),
    ],
    ids=["comments", "line", "packed", "bomb", "words", "plain"],
)
def test_an_answer_without_end_is_given_up(
    server: FaultServer, ask: Ask, answer: Callable[[Exchange], None]
) -> None:
    server.answer = answer
    with pytest.raises(ProviderError, match="too large") as caught:
        ask(read=15, total=15)
    assert (caught.value.kind, caught.value.retryable) == ("transport", False)


@pytest.mark.parametrize(
    "answer",
    [
        endless(lambda: b"x" * 65536, status=429, first=b"slow down "),
        endless(packed(b"slow down " * 100_000), status=429, content_encoding="gzip"),
    ],
    ids=["bare", "packed"],
)
def test_of_a_refusal_the_beginning_is_read(
    server: FaultServer, ask: Ask, answer: Callable[[Exchange], None]
) -> None:
    server.answer = answer
    with pytest.raises(ProviderError, match="slow down") as caught:
        ask(read=15, total=15)
    assert (caught.value.kind, caught.value.status) == ("rate_limited", 429)


def test_calls_without_end_are_given_up(server: FaultServer, ask: Ask) -> None:
    calls = [tool("{}", index=index, id=f"c{index}", name="read_file") for index in range(1001)]
    server.answer = stream(*(delta(tool_calls=[call]) for call in calls), finish("tool_calls"))
    with pytest.raises(ProviderError, match="too large"):
        ask()


def test_what_is_packed_twice_is_not_unpacked(server: FaultServer, ask: Ask) -> None:
    server.answer = endless(packed(b"\0" * 100), content_encoding="gzip, gzip")
    with pytest.raises(ProviderError, match="packed more than once") as caught:
        ask()
    assert caught.value.kind == "transport"


def test_a_packed_answer_is_read(server: FaultServer, ask: Ask) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.close()
        exchange.head(connection="close", content_type="text/event-stream", content_encoding="gzip")
        exchange.send(packed(sse(text("unpacked"), finish()))())

    server.answer = answer
    assert ask().text == "unpacked"
