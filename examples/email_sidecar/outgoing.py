"""A delivery as a mail: composed, written down, handed to the mail server, written down again."""

import json
import re
import smtplib
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any, Final

from daemon import Daemon, DaemonAway, DaemonRefused
from settings import Server, Settings
from store import Store

LARGEST_ATTACHMENT: Final = 10 * 1024 * 1024
LARGEST_TOGETHER: Final = 20 * 1024 * 1024
MOST_ATTACHMENTS: Final = 10
_SECONDS: Final = 20.0
_MESSAGE_ID: Final = re.compile(r"<[^<>\s]{1,250}>")
_TYPE: Final = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")


class Later(Exception):
    """It was not delivered now and may be later."""


class Never(Exception):
    """It cannot be delivered as it is."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where an answer goes; what ``incoming`` wrote into the event's ``reply_route``."""

    to: str
    subject: str
    references: tuple[str, ...]


class Postman:
    """Delivers, one message at a time."""

    def __init__(self, settings: Settings, daemon: Daemon, store: Store) -> None:
        self._settings, self._daemon, self._store = settings, daemon, store
        self._one = threading.Lock()

    def deliver(self, delivery: Mapping[str, Any]) -> str:
        """Deliver once, however often it is asked for; return a word about it. Raises: Later, Never."""
        with self._one:
            delivery_id = delivery.get("delivery_id")
            if not isinstance(delivery_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", delivery_id):
                raise Never("the delivery has no usable id")
            if self._store.is_sent(delivery_id):
                return "sent before"
            route = self._route(delivery)
            try:
                message = self._compose(delivery, delivery_id, route)
            except ValueError as error:
                raise Never(f"no mail can be made of it: {error}") from error
            self._store.begin(delivery_id)
            self._send(message, route)
            self._store.sent(delivery_id)
            return str(message["Message-ID"])

    def _route(self, delivery: Mapping[str, Any]) -> Route:
        try:
            said = json.loads(delivery["reply_route"])
            route = Route(
                to=parseaddr(said["to"])[1],
                subject=str(said["subject"]),
                references=tuple(one for one in said["references"] if _MESSAGE_ID.fullmatch(one)),
            )
        except (KeyError, TypeError, ValueError):
            raise Never("the reply route cannot be read") from None
        if not self._settings.allows(route.to):
            raise Never("the recipient is not on the list")
        return route

    def _compose(self, delivery: Mapping[str, Any], delivery_id: str, route: Route) -> EmailMessage:
        """Return the mail. Its id is made from the delivery's, so that a copy can be told."""
        message = EmailMessage(policy=policy.SMTP)
        message["From"], message["To"] = self._settings.sender, route.to
        subject = " ".join(route.subject.split())
        message["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}".strip()
        message["Date"] = formatdate(localtime=False)
        domain = parseaddr(self._settings.sender)[1].rpartition("@")[2]
        message["Message-ID"] = f"<{delivery_id}.kheish@{domain}>"
        if route.references:
            message["In-Reply-To"] = route.references[-1]
            message["References"] = " ".join(route.references)
        message["Auto-Submitted"] = "auto-replied"
        parts = [part for part in delivery.get("parts", []) if isinstance(part, dict)]
        texts = [part["text"] for part in parts if part.get("type") == "text" and part.get("text")]
        content = str(delivery.get("content") or "")
        message.set_content("\n\n".join(filter(None, [content, *(t for t in texts if t != content)])))
        self._attach(message, [part for part in parts if part.get("type") == "attachment"])
        return message

    def _attach(self, message: EmailMessage, parts: list[dict[str, Any]]) -> None:
        sizes = [part.get("byte_length") or 0 for part in parts]
        if len(parts) > MOST_ATTACHMENTS or sum(sizes) > LARGEST_TOGETHER:
            raise Never("too many or too large attachments for one mail")
        for part in parts:
            try:
                data = self._daemon.download(
                    str(part.get("download_path")), limit=LARGEST_ATTACHMENT, sha256=part.get("sha256") or ""
                )
            except DaemonAway as error:
                raise Later(f"attachment: {error}") from error
            except DaemonRefused as error:
                raise Never(f"attachment: {error}") from error
            media_type = str(part.get("media_type", ""))
            known = media_type if _TYPE.fullmatch(media_type) else "application/octet-stream"
            main, _, sub = known.partition("/")
            name = str(part.get("file_name") or part.get("id") or "attachment")
            message.add_attachment(data, maintype=main, subtype=sub, filename=name)

    def _send(self, message: EmailMessage, route: Route) -> None:
        server = self._settings.smtp
        try:
            password = self._daemon.credential(server.password_key) if server.user else ""
            with _connected(server) as wire:
                if server.user:
                    wire.login(server.user, password)
                wire.send_message(message, from_addr=parseaddr(self._settings.sender)[1], to_addrs=[route.to])
        except smtplib.SMTPAuthenticationError as error:
            raise Later(f"the mail server refuses the login ({error.smtp_code})") from error
        except smtplib.SMTPRecipientsRefused as error:
            code = max((code for code, _ in error.recipients.values()), default=0)
            raise (Never if code >= 500 else Later)(f"the recipient was refused ({code})") from error
        except smtplib.SMTPResponseException as error:
            raise (Never if error.smtp_code >= 500 else Later)(
                f"the mail server refused ({error.smtp_code})"
            ) from error
        except (smtplib.SMTPException, OSError, DaemonAway, DaemonRefused) as error:
            raise Later(f"the mail server was not reached: {error}") from error


def _connected(server: Server) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=_SECONDS, context=context)
    wire = smtplib.SMTP(server.host, server.port, timeout=_SECONDS)
    if server.security == "starttls":
        try:
            wire.starttls(context=context)
        except BaseException:
            wire.close()
            raise
    return wire
