"""A call that has to stop does, wherever its thread is blocked; and connections are used again."""

import datetime
import ipaddress
import os
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sessions_app.providers import http_client, registry
from sessions_app.providers.base import Cancelled, Endpoint, Timeouts, collect
from sessions_app.providers.watch import CallStopped, Watch
from tests.support.fault_server import DONE, Exchange, FaultServer, finish, sse, stream, text
from tests.unit.providers.conftest import Ask, make_request

PROMPT_SECONDS = 1.0  # on a busy machine; without the watch it would take five


def silent_before_headers(exchange: Exchange) -> None:
    exchange.wait(5)


def silent_after_headers(exchange: Exchange) -> None:
    exchange.head(content_type="text/event-stream")
    exchange.wait(5)


def silent_after_text(exchange: Exchange) -> None:
    exchange.head(content_type="text/event-stream")
    exchange.send(sse(text("one ")))
    exchange.wait(5)


@pytest.mark.parametrize("answer", [silent_before_headers, silent_after_headers, silent_after_text])
def test_cancelling_wakes_a_blocked_read(
    server: FaultServer, ask: Ask, cancelled: threading.Event, answer: Callable[[Exchange], None]
) -> None:
    server.answer = answer
    moments: list[float] = []

    def cancel() -> None:
        moments.append(time.monotonic())
        cancelled.set()

    threading.Timer(0.1, cancel).start()
    with pytest.raises(Cancelled):
        ask(read=5)
    assert time.monotonic() - moments[0] < PROMPT_SECONDS


def test_cancelling_one_call_leaves_the_others_alone(server: FaultServer, cancelled: threading.Event) -> None:
    release = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.close()
        exchange.head(content_type="text/event-stream", connection="close")
        exchange.send(sse(text("one ")))
        release.wait(5)
        exchange.send(sse(text("two"), finish()) + DONE)

    server.answer = answer
    provider = registry.build(Endpoint(driver="openai", base_url=server.base_url, api_key="k"))
    results: dict[str, Any] = {}

    def call(name: str, event: threading.Event) -> None:
        try:
            results[name] = collect(provider.stream(make_request(), cancelled=event)).text
        except Cancelled:
            results[name] = "cancelled"

    threads = [
        threading.Thread(target=call, args=("stopped", cancelled)),
        threading.Thread(target=call, args=("spared", threading.Event())),
    ]
    for thread in threads:
        thread.start()
    while len(server.exchanges) < 2:
        time.sleep(0.005)
    cancelled.set()
    threads[0].join(2)
    release.set()
    threads[1].join(2)
    assert results == {"stopped": "cancelled", "spared": "one two"}


def test_a_consumer_that_fails_closes_the_connection(server: FaultServer, ask: Ask) -> None:
    noticed = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.head(content_type="text/event-stream")
        try:
            for _ in range(200):
                exchange.send(sse(text("x")))
                exchange.wait(0.01)
        except OSError:
            noticed.set()
            raise

    def lose_the_lease(delta: Any) -> None:
        raise RuntimeError("lease lost")

    server.answer = answer
    with pytest.raises(RuntimeError, match="lease lost"):
        ask(on_delta=lose_the_lease)
    assert noticed.wait(2)


def test_a_finished_stream_gives_its_connection_back(server: FaultServer, ask: Ask) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(content_type="text/event-stream", transfer_encoding="chunked")
        exchange.chunk(sse(text("ok"), finish()) + DONE)
        exchange.wait(0.005)
        exchange.chunk(b"")

    server.answer = answer
    assert [ask().text for _ in range(3)] == ["ok"] * 3
    assert len({exchange.peer for exchange in server.exchanges}) == 1


def test_a_server_that_lingers_after_done_does_not_hold_the_answer_up(server: FaultServer, ask: Ask) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(content_type="text/event-stream", transfer_encoding="chunked")
        exchange.chunk(sse(text("ok"), finish()) + DONE)
        exchange.wait(5)

    server.answer = answer
    started = time.monotonic()
    assert ask().text == "ok"
    assert time.monotonic() - started < PROMPT_SECONDS


def test_watch_refuses_reads_once_stopped() -> None:
    event = threading.Event()
    with Watch(event, total_seconds=10) as watch:
        watch.check()
        event.set()
        with pytest.raises(CallStopped, match="cancelled"):
            watch.check()
    with Watch(threading.Event(), total_seconds=0) as late, pytest.raises(CallStopped, match="expired"):
        late.check()


def test_a_forked_child_calls_with_its_own_client(server: FaultServer, ask: Ask) -> None:
    server.answer = stream(text("ok"), finish())
    ask()
    before = http_client.shared()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if ask().text == "ok" and http_client.shared() is not before else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_proxies_of_the_environment_are_used_but_not_for_loopback(
    server: FaultServer, ask: Ask, cancelled: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_client.close()
    proxy = server.base_url.removesuffix("/v1").replace("://", "://agent:pass@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.answer = stream(text("ok"), finish())
    far = registry.build(Endpoint(driver="openai", base_url="http://models.invalid/v1", api_key="k"))
    assert collect(far.stream(make_request(), cancelled=cancelled)).text == "ok"
    assert ask().text == "ok"
    through, direct = server.exchanges
    assert through.path == "http://models.invalid/v1/chat/completions"
    assert "Proxy-Authorization" in through.headers
    assert direct.path == "/v1/chat/completions"


@pytest.fixture
def tls_server(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """The fault server behind a certificate that the client trusts through ``SSL_CERT_FILE``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    encoding, none = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(encoding))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, none))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.encrypt(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    http_client.close()
    return server


def test_over_tls_too(tls_server: FaultServer, cancelled: threading.Event) -> None:
    limits = Timeouts(connect_seconds=2, read_seconds=5, total_seconds=10)
    endpoint = Endpoint(driver="openai", base_url=tls_server.base_url, api_key="k", timeouts=limits)
    provider = registry.build(endpoint)
    tls_server.answer = stream(text("ok"), finish())
    assert collect(provider.stream(make_request(), cancelled=cancelled)).text == "ok"
    tls_server.answer = silent_after_text
    started = time.monotonic()
    threading.Timer(0.1, cancelled.set).start()
    with pytest.raises(Cancelled):
        collect(provider.stream(make_request(), cancelled=cancelled))
    assert time.monotonic() - started < 0.1 + PROMPT_SECONDS
