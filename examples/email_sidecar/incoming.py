"""A mail as an event: who writes, in which conversation, what is said, and where an answer goes."""

import base64
import html.parser
import json
import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any, Final

from settings import Settings

LARGEST_ATTACHMENT: Final = 1_048_576
LARGEST_TOGETHER: Final = 1_300_000  # with base64 and the text still under the 2 MiB of one request
MOST_ATTACHMENTS: Final = 10
LARGEST_TEXT_BYTES: Final = 250_000
MOST_REFERENCES: Final = 10
MOST_NOTES: Final = 20
MEDIA_TYPES: Final = frozenset(
    {
        "text/plain", "text/csv", "text/markdown", "application/json", "application/pdf",
        "image/png", "image/jpeg", "image/gif", "image/webp",
    }
)  # fmt: skip
_MESSAGE_ID: Final = re.compile(r"<[^<>\s]{1,250}>")


class Ignored(Exception):
    """The mail is not for the agent; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail as the server keeps it. ``received_ms`` never changes, so a replay says the same."""

    event_id: str
    received_ms: int
    raw: bytes


def event_of(mail: Mail, settings: Settings, *, instance_id: str) -> dict[str, Any]:
    """Return the event of a mail. Raises: Ignored, and anything where the mail is so odd that Python's own
    parser gives up: a reader of mails has to outlive that."""
    message = message_from_bytes(mail.raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    sender = _sender(message, settings)
    message_id, references = _ids(message)
    anchor = references[0] if references else message_id or mail.event_id
    subject = str(message.get("Subject", "")).strip()[:500]
    attachments, left_out = _attachments(message)
    notes = [f"[attachment not passed on: {note}]" for note in left_out[:MOST_NOTES]]
    notes += [f"[and {len(left_out) - MOST_NOTES} more]"] if len(left_out) > MOST_NOTES else []
    text = _text(message)
    known = [*references, *([message_id] if message_id else [])]
    event = {
        "protocol_version": 2,
        "instance_id": instance_id,
        "event_id": mail.event_id,
        "occurred_at_ms": mail.received_ms,
        "actor_id": sender,
        "source_kind": "email",
        "thread": {"path": [sender, anchor]},
        "content": "\n\n".join(filter(None, [f"Subject: {subject}" if subject else "", text, *notes]))
        or "(an empty mail)",
        "attachments": attachments,
        "reply_route": json.dumps(
            {"to": sender, "subject": subject, "references": _short(known)}, ensure_ascii=False
        ),
        "metadata": {"subject": subject, "message_id": message_id, "to": str(message.get("To", ""))[:500]},
    }
    return dict(_storable(event))


def _storable(value: Any) -> Any:
    """Return ``value`` without the characters that no JSON reader or database takes."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _storable(member) for name, member in value.items()}
    return [_storable(member) for member in value] if isinstance(value, list) else value


def _sender(message: EmailMessage, settings: Settings) -> str:
    """Return the address the mail claims to come from. Raises: Ignored."""
    found = [address for _, address in getaddresses(map(str, message.get_all("From", []))) if address]
    if len(found) != 1:
        raise Ignored("it has not exactly one sender")
    sender = found[0].lower()
    if str(message.get("Auto-Submitted", "no")).lower() != "no" or "List-Id" in message:
        raise Ignored("a program wrote it")
    if not settings.allows(sender):
        raise Ignored("the sender is not on the list")
    if settings.authserv and not _is_authentic(message, settings.authserv, sender.rpartition("@")[2]):
        raise Ignored("the mail server does not vouch for the sender")
    return sender


def _is_authentic(message: EmailMessage, authserv: str, domain: str) -> bool:
    """Read the verdict that our own mail server wrote on top (RFC 8601); what stands below may be forged.

    Its other parts hold words of whoever sent the mail, such as the envelope's sender: only a part that is a
    verdict of DMARC counts, every one of them must be a pass, and for the domain that the mail shows.
    """
    first = str(next(iter(message.get_all("Authentication-Results", [])), "")).lower()
    server, *parts = _bare(first).split(";")
    found = [part.split() for part in parts if re.match(r"\s*dmarc\s*=", part)]
    passed = all(words[0] == "dmarc=pass" for words in found)
    named = [word.partition("=")[2] for words in found for word in words if word.startswith("header.from=")]
    return (
        server.split()[:1] == [authserv] and bool(found) and passed and all(name == domain for name in named)
    )


def _bare(header: str) -> str:
    """Return ``header`` without its comments, and with nothing of a quoted text but its place."""
    kept, depth, quoted = [], 0, False
    letters = iter(header)
    for letter in letters:
        if letter == "\\":
            next(letters, "")
        elif quoted:
            quoted = letter != '"'
        elif letter == "(":
            depth += 1
        elif letter == ")":
            depth = max(0, depth - 1)
        elif not depth:
            quoted = letter == '"'
            kept.append(letter)
    return "".join(kept)


def _ids(message: EmailMessage) -> tuple[str, list[str]]:
    """Return the mail's own id and those of the conversation before it, oldest first."""
    own = _MESSAGE_ID.findall(str(message.get("Message-ID", "")))
    before = _MESSAGE_ID.findall(str(message.get("References", "")))
    before = before or _MESSAGE_ID.findall(str(message.get("In-Reply-To", "")))
    return (own[0] if own else ""), before


def _short(ids: list[str]) -> list[str]:
    """Keep the oldest, which names the conversation, and the newest."""
    return ids if len(ids) <= MOST_REFERENCES else [ids[0], *ids[-(MOST_REFERENCES - 1) :]]


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain", "html"))
    if body is None:
        return ""
    try:
        text = str(body.get_content())
    except (LookupError, UnicodeError, KeyError):
        return "(the text cannot be read)"
    if body.get_content_subtype() == "html":
        text = _PlainText.of(text)
    short = text.strip().encode("utf-8", "replace")[:LARGEST_TEXT_BYTES]
    return short.decode("utf-8", "ignore")


def _attachments(message: EmailMessage) -> tuple[list[dict[str, str]], list[str]]:
    """Return what goes along, and a word about each file that does not."""
    kept: list[dict[str, str]] = []
    left_out: list[str] = []
    total = 0
    for part in message.iter_attachments():
        name = (part.get_filename() or "attachment")[:200]
        data, media_type = part.get_payload(decode=True), part.get_content_type()
        size = len(data) if isinstance(data, bytes) else 0
        fits = size <= LARGEST_ATTACHMENT and total + size <= LARGEST_TOGETHER
        if not isinstance(data, bytes) or not data or media_type not in MEDIA_TYPES:
            left_out.append(f"{name}, {media_type}")
        elif not fits or len(kept) == MOST_ATTACHMENTS:
            left_out.append(f"{name}, {size} bytes")
        else:
            total += size
            content = base64.b64encode(data).decode()
            kept.append({"file_name": name, "media_type": media_type, "content_base64": content})
    return kept, left_out


class _PlainText(html.parser.HTMLParser):
    """The words of a page, one line a block."""

    _BLOCKS = frozenset({"p", "div", "br", "tr", "li", "h1", "h2", "h3", "blockquote"})
    _SILENT = frozenset({"script", "style", "head", "title"})

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._silent = 0

    @classmethod
    def of(cls, text: str) -> str:
        parser = cls()
        parser.feed(text)
        parser.close()
        lines = (" ".join(line.split()) for line in "".join(parser.words).splitlines())
        return "\n".join(filter(None, lines))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in self._SILENT
        self.words += ["\n"] if tag in self._BLOCKS else []

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in self._SILENT and self._silent > 0

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)
