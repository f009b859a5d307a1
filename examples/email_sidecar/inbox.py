"""The mailbox: unread mails one after the other, read without marking them, marked once they are safe."""

import imaplib
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from incoming import Mail
from settings import Server

LARGEST_MAIL: Final = 20 * 1024 * 1024
_SECONDS: Final = 30.0
_SIZE: Final = re.compile(rb"RFC822\.SIZE (\d+)")


class MailboxAway(Exception):
    """The mailbox cannot be read now."""


@contextmanager
def opened(server: Server, password: str, folder: str) -> Iterator["Mailbox"]:
    """Connect, log in and select; log out at the end. Raises: MailboxAway."""
    wire = None
    try:
        wire = _connected(server)
        wire.login(server.user, password)
        status, _ = wire.select(f'"{folder}"')
        if status != "OK":
            raise MailboxAway(f"there is no mailbox {folder}")
        yield Mailbox(wire, folder)
    except (OSError, imaplib.IMAP4.error) as error:
        raise MailboxAway(f"{type(error).__name__}: {error}") from error
    finally:
        if wire is not None:
            with suppress(OSError, imaplib.IMAP4.error):
                wire.logout()


def _connected(server: Server) -> imaplib.IMAP4:
    context = ssl.create_default_context()
    if server.security == "tls":
        return imaplib.IMAP4_SSL(server.host, server.port, ssl_context=context, timeout=_SECONDS)
    wire = imaplib.IMAP4(server.host, server.port, timeout=_SECONDS)
    if server.security == "starttls":
        wire.starttls(context)
    return wire


class Mailbox:
    """One selected mailbox."""

    def __init__(self, wire: imaplib.IMAP4, folder: str) -> None:
        self._wire = wire
        _, said = wire.response("UIDVALIDITY")
        validity = said[0] if said and said[0] else b"0"
        self._prefix = f"imap:{folder}:{validity.decode()}"

    def unseen(self) -> list[str]:
        """Return the UIDs of unread mails, oldest first."""
        found = self._ask("SEARCH", "UNSEEN")
        words = b" ".join(part for part in found if isinstance(part, bytes)).split()
        return sorted((word.decode() for word in words), key=int)

    def event_id(self, uid: str) -> str:
        """Return the name of a mail that stays the same however often it is read."""
        return f"{self._prefix}:{uid}"

    def size_bytes(self, uid: str) -> int:
        """Return the size of a mail; 0 when it is gone."""
        found = _SIZE.search(_outside(self._ask("FETCH", uid, "(RFC822.SIZE)")))
        return int(found[1]) if found else 0

    def read(self, uid: str) -> Mail | None:
        """Return a mail without marking it as read; None when it is gone."""
        found = self._ask("FETCH", uid, "(INTERNALDATE BODY.PEEK[])")
        raw = next((part[1] for part in found if isinstance(part, tuple)), None)
        received = imaplib.Internaldate2tuple(_outside(found))
        if raw is None or received is None:
            return None
        return Mail(event_id=self.event_id(uid), received_ms=int(time.mktime(received) * 1000), raw=raw)

    def mark_seen(self, uid: str) -> None:
        """Mark a mail as read."""
        self._ask("STORE", uid, "+FLAGS.SILENT", r"(\Seen)")

    def _ask(self, command: str, *arguments: str) -> list[Any]:
        status, found = self._wire.uid(command, *arguments)
        if status != "OK":
            raise MailboxAway(f"{command} was refused")
        return list(found)


def _outside(found: list[Any]) -> bytes:
    """Return what stands around the literals of an answer."""
    return b" ".join(part[0] if isinstance(part, tuple) else part for part in found if part)
