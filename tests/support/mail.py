"""Real mail servers on loopback: SMTP with STARTTLS and login in this process, IMAP in one beside it."""

import imaplib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kheish_site.testing.ports import free_port
from tests.support.service_process import until

USER, PASSWORD = "agent", "swordfish-4711-canary"
_IMAP = Path(__file__).with_name("imap_server.py")


class Post:
    """Both servers. ``outbox`` holds what was sent; ``put`` and ``unseen`` act on the mailbox."""

    def __init__(self, folder: Path) -> None:
        self.certificate = _certificate(folder)
        self.imap_port, self.smtp_port = free_port(), free_port()
        self.outbox: list[EmailMessage] = []
        self.answer = ""
        self._arrived = threading.Condition()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer:
            return self.answer
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        with self._arrived:
            assert envelope.rcpt_tos == [parseaddr(message["To"])[1]]
            self.outbox.append(message)
            self._arrived.notify_all()
        return "250 taken"

    def sent_to(self, address: str) -> list[EmailMessage]:
        """The mails that were sent to ``address``."""
        return [mail for mail in self.outbox if address in str(mail["To"])]

    def wait(self, address: str, count: int = 1, seconds: float = 60) -> list[EmailMessage]:
        """The mails sent to ``address``, once there are ``count``."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self.sent_to(address)) >= count, seconds)
        assert arrived, self.outbox
        return self.sent_to(address)

    def put(self, **headers: str) -> None:
        """A mail arrives; ``text`` is its body, ``table`` a file that comes along."""
        text, table = headers.pop("text"), headers.pop("table", "")
        mail = EmailMessage()
        for name, value in {"To": "agent@example.org", **headers}.items():
            mail[name.replace("_", "-")] = value
        mail.set_content(text)
        if table:
            mail.add_attachment(table.encode(), maintype="text", subtype="csv", filename="table.csv")
        self.put_raw(mail.as_bytes(policy=policy.SMTP))

    def put_raw(self, raw: bytes) -> None:
        """A mail arrives as it is."""
        with self._box() as box:
            assert box.append("INBOX", "()", '"21-Nov-2026 10:00:00 +0000"', raw)[0] == "OK"

    def unseen(self, address: str) -> int:
        """How many mails from ``address`` are unread."""
        with self._box() as box:
            box.select("INBOX", readonly=True)
            return len(_of(box, "UNSEEN", address))

    def mark_unread(self, address: str) -> None:
        """The mails from ``address`` look new again."""
        with self._box() as box:
            box.select("INBOX")
            for number in _of(box, "ALL", address):
                box.store(number, "FLAGS", "()")

    @contextmanager
    def _box(self) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=10) as box:
            box.login(USER, PASSWORD)
            yield box

    def environment(self, folder: Path) -> dict[str, str]:
        """What the e-mail sidecar is told."""
        return {
            "EMAIL_IMAP_HOST": "127.0.0.1", "EMAIL_IMAP_PORT": str(self.imap_port), "EMAIL_IMAP_USER": USER,
            "EMAIL_IMAP_SECURITY": "none", "EMAIL_SMTP_HOST": "127.0.0.1",
            "EMAIL_SMTP_PORT": str(self.smtp_port), "EMAIL_SMTP_USER": USER,
            "EMAIL_SMTP_SECURITY": "starttls", "EMAIL_FROM": "Agent <agent@example.org>",
            "EMAIL_ALLOWED_SENDERS": "@example.org", "EMAIL_STATE_DIR": str(folder),
            "EMAIL_POLL_SECONDS": "0.2", "SSL_CERT_FILE": str(self.certificate),
        }  # fmt: skip


@contextmanager
def servers(folder: Path) -> Iterator[Post]:
    """Start both servers and end them with the block."""
    post = Post(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(post.certificate)

    def known(server: Any, session: Any, envelope: Any, mechanism: str, given: LoginPassword) -> AuthResult:
        same = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=same)

    smtp = Controller(
        post, hostname="127.0.0.1", port=post.smtp_port, tls_context=context, require_starttls=True,
        authenticator=known, auth_required=True,
    )  # fmt: skip
    imap = subprocess.Popen([sys.executable, str(_IMAP), USER, PASSWORD, str(post.imap_port)])
    try:
        smtp.start()
        until(lambda: _listens(post.imap_port), 30, lambda: "the IMAP server does not listen")
        yield post
    finally:
        smtp.stop()
        imap.kill()
        imap.wait()


def _of(box: imaplib.IMAP4, criterion: str, address: str) -> list[str]:
    """The numbers of the mails from ``address``; ``imaplib`` says None where the server says nothing."""
    numbers = (box.search(None, criterion)[1][0] or b"").decode().split()
    mails = {number: box.fetch(number, "(BODY.PEEK[])")[1][0] for number in numbers}
    return [number for number, found in mails.items() if found and address.encode() in found[1]]


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key in one file; it vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "mail.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file
