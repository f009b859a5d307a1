"""What the sidecar is told: by its supervisor, or by whoever starts it by hand."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

PREFIX = "KHEISH_EXTERNAL_CONNECTOR_"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SECURITIES = ("tls", "starttls", "none")


class SettingsError(Exception):
    """A setting is missing or makes no sense; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A mail server. ``password_key`` names the credential; it is fetched for each connection."""

    host: str
    port: int
    security: str
    user: str
    password_key: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything the sidecar has to know."""

    name: str
    host: str
    port: int
    daemon_url: str
    shared_token: str = field(repr=False)
    lease_token: str = field(repr=False)
    credential_keys: tuple[str, ...]
    imap: Server
    mailbox: str
    smtp: Server
    sender: str
    allowed_senders: tuple[str, ...]
    authserv: str
    poll_seconds: float
    state_dir: Path

    def allows(self, address: str) -> bool:
        """Tell whether mail from and to ``address`` is wanted: named itself, or by ``@its-domain``."""
        address = address.lower()
        return address in self.allowed_senders or "@" + address.rpartition("@")[2] in self.allowed_senders


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment. Raises: SettingsError."""
    base = urlsplit(_needed(environment, PREFIX + "BASE_URL"))
    token = environment.get(PREFIX + "SHARED_TOKEN", "")
    if not base.hostname or not base.port:
        raise SettingsError(f"{PREFIX}BASE_URL is http://HOST:PORT")
    if not token and base.hostname not in LOOPBACK:
        raise SettingsError(f"{PREFIX}SHARED_TOKEN is needed beyond loopback")
    allowed = [word.strip().lower() for word in _needed(environment, "EMAIL_ALLOWED_SENDERS").split(",")]
    return Settings(
        name=_needed(environment, PREFIX + "NAME"),
        host=base.hostname,
        port=base.port,
        daemon_url=_needed(environment, PREFIX + "DAEMON_BASE_URL").rstrip("/"),
        shared_token=token,
        lease_token=environment.get(PREFIX + "CREDENTIAL_TOKEN", ""),
        credential_keys=tuple(json.loads(environment.get(PREFIX + "CREDENTIAL_KEYS_JSON") or "[]")),
        imap=_server(environment, "EMAIL_IMAP", default_security="tls"),
        mailbox=environment.get("EMAIL_MAILBOX", "INBOX"),
        smtp=_server(environment, "EMAIL_SMTP", default_security="starttls"),
        sender=_needed(environment, "EMAIL_FROM"),
        allowed_senders=tuple(filter(None, allowed)),
        authserv=environment.get("EMAIL_TRUSTED_AUTHSERV", "").lower(),
        poll_seconds=float(environment.get("EMAIL_POLL_SECONDS", "15")),
        state_dir=Path(_needed(environment, "EMAIL_STATE_DIR")).expanduser(),
    )


def _server(environment: Mapping[str, str], prefix: str, *, default_security: str) -> Server:
    host, security = _needed(environment, f"{prefix}_HOST"), environment.get(f"{prefix}_SECURITY", "")
    security = security or default_security
    if security not in SECURITIES:
        raise SettingsError(f"{prefix}_SECURITY is one of {', '.join(SECURITIES)}")
    if security == "none" and host not in LOOPBACK:
        raise SettingsError(f"{prefix}_SECURITY=none sends passwords in the clear: on loopback only")
    ports = {"EMAIL_IMAP": {"tls": 993}, "EMAIL_SMTP": {"tls": 465, "starttls": 587}}
    default_port = ports[prefix].get(security, {"EMAIL_IMAP": 143, "EMAIL_SMTP": 25}[prefix])
    return Server(
        host=host,
        port=int(environment.get(f"{prefix}_PORT") or default_port),
        security=security,
        user=environment.get(f"{prefix}_USER", ""),
        password_key=f"{prefix}_PASSWORD",
    )


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set")
    return value
