"""web_fetch against a real server on this machine; what it may reach; what it makes of the answer."""

import datetime
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.tools import web_get
from sessions_app.tools.addresses import Patience, is_public, resolve
from sessions_app.tools.base import ToolFailure
from sessions_app.tools.web_fetch import WebFetch
from sessions_app.tools.web_get import parse_url
from sessions_app.tools.web_text import html_to_text, parse_content_type, read_limited, to_text


class Handler(BaseHTTPRequestHandler):
    """Answers by path; remembers the Host headers it saw."""

    hosts: list[str] = []

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, body: bytes, *, status: int = 200, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        name, _, rest = self.path.lstrip("/").partition("/")
        getattr(self, f"get_{name}")(rest)

    def get_text(self, _: str) -> None:
        self.answer("héllo".encode())

    def get_html(self, _: str) -> None:
        self.answer(
            b"<title>T</title><script>evil()</script><p>Hello<br>there", kind="text/html; charset=utf-8"
        )

    def get_json(self, _: str) -> None:
        self.answer(b'{"a": 1}', kind="application/problem+json", status=404)

    def get_image(self, _: str) -> None:
        self.answer(b"\x89PNG", kind="image/png")

    def get_untyped(self, _: str) -> None:
        self.answer(b"\x00\x01", kind="")

    def get_redirect(self, rest: str) -> None:
        count = int(rest)
        self.answer(b"", status=302, Location=f"/redirect/{count - 1}" if count else "/text")

    def get_away(self, rest: str) -> None:
        self.answer(b"", status=307, Location=rest)

    def get_bomb(self, _: str) -> None:
        self.answer(gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip")

    def get_brotli(self, _: str) -> None:
        self.answer(b"?", Content_Encoding="br")

    def get_endless(self, _: str) -> None:
        self.answer(b"")
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            return

    def get_drip(self, _: str) -> None:
        """Headers that never end, a byte at a time: no single read takes long."""
        try:
            for _ in range(100):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-A" if not _ else b"a")
                time.sleep(0.05)
        except OSError:
            return


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        Handler.hosts = []
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_text_is_fetched(server, call):
    result = call("web_fetch", url=f"{server}/text#part")
    assert result.content.endswith("\nhéllo")
    assert (result.data["status"], result.data["media_type"]) == (200, "text/plain")


def test_html_is_read_as_its_text(server, call):
    assert call("web_fetch", url=f"{server}/html").content.endswith("T\nHello\nthere")


def test_an_error_status_is_an_error_result_with_its_text(server, call):
    result = call("web_fetch", url=f"{server}/json")
    assert (result.is_error, result.error_code, result.data["status"]) == (True, "http_error", 404)
    assert '{"a": 1}' in result.content


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("image", "not_text"),
        ("untyped", "not_text"),
        ("brotli", "response_unreadable"),
        ("redirect/5", "too_many_redirects"),
        ("away/ftp://127.0.0.1/", "url_refused"),
        ("away/http://user:password@127.0.0.1/", "url_refused"),
        ("away/http://169.254.169.254/latest/meta-data/", "address_refused"),
        ("away/http://[::ffff:127.0.0.1]/", "address_refused"),
        ("away/http://0.0.0.0/", "address_refused"),
        ("away/http://[::]/", "address_refused"),
        ("away/file:///etc/passwd", "url_refused"),
        ("away/http://[::1", "url_refused"),
        ("away/http://127.0.0.1:0/", "url_refused"),
        ("away/http://xn--/", "url_refused"),
    ],
)
def test_refusals(server, call, path, code):
    """The test flag admits loopback and private networks; every other special address stays refused."""
    assert call("web_fetch", url=f"{server}/{path}").error_code == code


def test_five_redirects_are_followed(server, call):
    result = call("web_fetch", url=f"{server}/redirect/4")
    assert result.data["url"] == f"{server}/text"


@pytest.mark.parametrize("path", ["endless", "bomb"])
def test_reading_stops_at_the_limit(server, call, path):
    result = call("web_fetch", url=f"{server}/{path}")
    assert (result.data["size_bytes"], result.data["truncated"]) == (web_get.MAX_BODY_BYTES, True)


def test_the_time_limit_is_for_the_whole_call(server, context, monkeypatch):
    tool = WebFetch()
    monkeypatch.setattr(tool, "spec", replace(WebFetch.spec, timeout_seconds=0.5))
    started = time.monotonic()
    with pytest.raises(ToolFailure) as caught:
        tool.run({"url": f"{server}/drip"}, context)
    assert caught.value.code == "timeout"
    assert time.monotonic() - started < 3


def test_cancelling_the_run_ends_the_wait(context):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Timer(0.3, context.cancelled.set).start()
        with pytest.raises(ToolFailure) as caught:
            WebFetch().run({"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}, context)
    assert caught.value.code == "cancelled"


def test_nobody_there(call):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert call("web_fetch", url=f"http://127.0.0.1:{port}/").error_code == "fetch_failed"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "10.0.0.1", "172.16.0.1",
        "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
        "198.18.0.1", "192.0.2.1", "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]",
        "[::ffff:10.0.0.1]", "[::ffff:8.8.8.8]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001::1]",
        "[2001:db8::1]", "[::127.0.0.1]",
    ],
)  # fmt: skip
def test_special_addresses_are_refused(context, host):
    strict = replace(context, allow_private_addresses=False)
    with pytest.raises(ToolFailure) as caught:
        WebFetch().run({"url": f"http://{host}:9/"}, strict)
    assert caught.value.code == "address_refused"


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111"])
def test_public_addresses_are_public(address):
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_never_public(address):
    packed = int(address)
    assert not is_public(ip_address(f"::ffff:{address}"))
    assert not is_public(ip_address(f"64:ff9b::{packed >> 16:x}:{packed & 0xFFFF:x}"))
    assert not is_public(ip_address(f"2002:{packed >> 16:x}:{packed & 0xFFFF:x}::"))


@given(st.ip_addresses(v=4))
def test_what_is_private_is_not_public(address):
    if not address.is_global or address.is_multicast:
        assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    ["", "ftp://a/", "http://", "//a/", "a", "http://u@a/", "http://u:p@a/", "javascript:1", "http://a:99999/",
     "http://\ud800/", "http://0177.0.0.1/", "http://a\r\nX: y/"],
)  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(ToolFailure) as caught:
        parse_url(url)
    assert caught.value.code == "url_refused"


class Resolver:
    """Stands in for DNS, which a test has none of: each question gets the next answer."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *rest: object, **options: object) -> list:
        if not host.endswith(".test"):
            return self.real(host, port, *rest, **options)
        self.asked.append(host)
        found = self.answers.pop(0)
        return [entry for address in found for entry in self.real(address, port, type=socket.SOCK_STREAM)]


PATIENT = Patience(deadline=time.monotonic() + 1e6, is_cancelled=lambda: False)


def test_one_forbidden_address_refuses_the_name(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["8.8.8.8", "127.0.0.1"]))
    with pytest.raises(ToolFailure) as caught:
        resolve("mixed.test", 80, PATIENT, allow_private=False)
    assert caught.value.code == "address_refused"


def test_a_name_is_resolved_once_and_the_connection_goes_there(server, call, monkeypatch):
    """The second answer of a rebinding resolver is never asked for; the Host header keeps the name."""
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    port = server.rpartition(":")[2]
    result = call("web_fetch", url=f"http://name.test:{port}/text")
    assert not result.is_error
    assert resolver.asked == ["name.test"]
    assert Handler.hosts == [f"name.test:{port}"]


def test_every_hop_is_resolved_and_checked_anew(server, call, monkeypatch):
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    port = server.rpartition(":")[2]
    result = call("web_fetch", url=f"http://name.test:{port}/away/http://name.test:{port}/text")
    assert (result.error_code, resolver.asked) == ("address_refused", ["name.test", "name.test"])


def test_the_next_address_is_tried_when_one_does_not_answer(server, call, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["127.0.0.2", "127.0.0.1"]))
    port = server.rpartition(":")[2]
    assert not call("web_fetch", url=f"http://name.test:{port}/text").is_error


def test_a_resolver_that_never_answers_is_left_behind(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(2) or [])
    patience = Patience(deadline=time.monotonic() + 0.3, is_cancelled=lambda: False)
    with pytest.raises(ToolFailure) as caught:
        resolve("slow.test", 80, patience, allow_private=False)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("host", ["nothing.invalid", "a" * 70 + ".test", "xn--\u00fc.test"])
def test_names_that_do_not_exist(host, monkeypatch):
    with pytest.raises(ToolFailure) as caught:
        resolve(host, 80, PATIENT, allow_private=False)
    assert caught.value.code == "name_not_found"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate for name.test and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "name.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("name.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "name.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(("name", "code"), [("name.test", ""), ("other.test", "fetch_failed")])
def test_tls_names_and_checks_the_host_not_the_address(call, authority, monkeypatch, name, code):
    seen: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    context.sni_callback = lambda connection, sent, _: seen.append(sent)
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["127.0.0.1"]))
    monkeypatch.setattr(web_get, "_tls", lambda: ssl.create_default_context(cafile=str(authority)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.handle_error = lambda *_: None
        http.socket = context.wrap_socket(http.socket, server_side=True)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        result = call("web_fetch", url=f"https://{name}:{http.server_port}/text")
        http.shutdown()
    assert (result.error_code, seen) == (code, [name])


def test_certificates_are_checked_by_default(call, authority, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(["127.0.0.1"]))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.handle_error = lambda *_: None
        http.socket = context.wrap_socket(http.socket, server_side=True)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        assert call("web_fetch", url=f"https://name.test:{http.server_port}/").error_code == "fetch_failed"
        http.shutdown()


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("plain", "plain"),
        ("a &lt; b &amp; c", "a < b & c"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ("<b>bold</b>er", "bolder"),
        ("x<script>if (a < b) { c }</script>y<style>p{}</style>z", "xyz"),
        ("a<!-- hidden <p> -->b<!-- never ends", "ab"),
        ("<!doctype html><p title='x'>y", "y"),
        ("<script>never ends <p>x", ""),
    ],
)
def test_html_to_text(markup, text):
    assert html_to_text(markup) == text


@given(st.text(alphabet="<>!-/ab &;'\"\n", max_size=200))
def test_any_markup_gives_some_text(markup):
    assert isinstance(html_to_text(markup), str)


def test_hostile_markup_takes_linear_time():
    started = time.monotonic()
    for piece in ("<", "<!", "<!--", "<a ", "&", "<script", "</"):
        html_to_text(piece * 200_000)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("text/html", ("text/html", "utf-8")),
        ('Text/HTML; Charset="ISO-8859-1"', ("text/html", "iso8859_1")),
        ("text/plain; charset=windows-1252", ("text/plain", "cp1252")),
        ("text/plain; charset=hex", ("text/plain", "utf-8")),
        ("text/plain; charset=unicode_escape", ("text/plain", "utf-8")),
        ("text/plain; charset=idna", ("text/plain", "utf-8")),
        ("text/plain; charset=a\x00b", ("text/plain", "utf-8")),
        ("", ("", "utf-8")),
    ],
)
def test_content_types(header, expected):
    assert parse_content_type(header) == expected


@given(
    st.binary(max_size=50),
    st.sampled_from(["utf-8", "utf_16", "iso8859_1", "gb18030", "shift_jis", "cp1252"]),
)
def test_any_bytes_become_storable_text(body, charset):
    to_text(body, "text/plain", charset).encode()


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(0, 60))
def test_limits_cut_exactly(chunks, limit):
    whole = b"".join(chunks)
    assert read_limited(chunks, "", limit) == (whole[:limit], len(whole) > limit)
    packed = gzip.compress(whole)
    pieces = [packed[i : i + 7] for i in range(0, len(packed), 7)]
    assert read_limited(pieces, "gzip", limit) == (whole[:limit], len(whole) > limit)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\xfe",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\xff\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot packed",
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe;charset\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\nx",
    ],
)
def test_a_server_that_breaks_the_rules_is_a_failure_not_a_crash(call, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(8):  # an empty Location leads back here
                connection, _ = server.accept()
                connection.recv(65536)
                connection.sendall(answer)
                connection.close()

        def quietly() -> None:
            with suppress(OSError):
                serve()

        threading.Thread(target=quietly, daemon=True).start()
        result = call("web_fetch", url=f"http://127.0.0.1:{server.getsockname()[1]}/")
        server.shutdown(socket.SHUT_RDWR)
    assert result.is_error
