"""Events as each platform sends them, signed by the platforms' own libraries, and their patience.

A platform sends an event again until it is answered with 2xx or 4xx: ``insist`` does the same.
"""

import json
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from itertools import count
from typing import Any

import telegram
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook

from tests.support.service import Deployment
from tests.support.slack_server import TOKEN as SLACK_TOKEN
from tests.support.telegram_server import TOKEN as TELEGRAM_TOKEN

HMAC_SECRET = "whsec_" + b64encode(b"monitoring-hmac-canary-4711").decode()
SLACK_SECRET = "slack-signing-canary-4711"
TELEGRAM_SECRET = "telegram-webhook-canary-4711"
SHARED_TOKEN = "sidecar-shared-token-canary-4711"
CHAT = 100
"""The one chat of our bot."""
CHANNEL = "C024BE91L"
_PATIENCE_SECONDS = 45.0
_AGAIN_SECONDS = 0.05
_NUMBERS = count(1)


@dataclass(frozen=True)
class Post:
    """One request of a platform."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What it was answered."""

    status: int
    said: Any
    replayed: bool = False

    @property
    def run_id(self) -> str:
        """The run of the event, "" when there is none."""
        return str(self.said.get("run_id") or "") if isinstance(self.said, dict) else ""

    @property
    def is_accepted(self) -> bool:
        """True when the event is a run."""
        return self.status == 200 and bool(self.run_id) and self.said.get("status") != "rejected"


def define(service: Deployment, kind: str, name: str, secrets: Mapping[str, str], **settings: Any) -> None:
    """Write a connector."""
    given = {field: {"value": value} for field, value in secrets.items()}
    body = {"settings": settings, "secrets": given}
    status, said = service.ask("PUT", f"/v1/runtime/connectors/{kind}/{name}", body)
    assert status in (200, 201), said


def webhook(service: Deployment, name: str, **settings: Any) -> None:
    """An ``http`` connector that wants each event signed."""
    define(service, "http", name, {"hmac_secret": HMAC_SECRET}, require_hmac_signature=True, **settings)


def sidecar(service: Deployment, name: str, url: str, **settings: Any) -> None:
    """An ``external`` connector whose sidecar somebody else runs."""
    given = {"platform": name, "mode": "remote_http", "base_url": url, "allow_private_network": True}
    define(service, "external", name, {"shared_token": SHARED_TOKEN}, **{**given, **settings})


def slack(service: Deployment, name: str, api: str, **settings: Any) -> None:
    """A ``slack`` connector that talks to the Slack at ``api``."""
    secrets = {"bot_token": SLACK_TOKEN, "signing_secret": SLACK_SECRET}
    given = {"api_base_url": api, "allow_private_network": True}
    define(service, "slack", name, secrets, **given, **settings)


def bot(service: Deployment, name: str, url: str, **settings: Any) -> None:
    """A ``telegram`` connector whose webhook is set."""
    secrets = {"bot_token": TELEGRAM_TOKEN, "secret_token": TELEGRAM_SECRET}
    define(service, "telegram", name, secrets, api_base_url=url, **settings)


def webhook_post(name: str, key: str, content: str, *, age: float = 0, secret: str = HMAC_SECRET) -> Post:
    """An event signed after Standard Webhooks."""
    body = json.dumps({"content": content, "idempotency_key": key})
    when = datetime.now(UTC) - timedelta(seconds=age)
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": Webhook(secret).sign(key, when, body),
    }
    return Post(f"/v1/connectors/http/{name}", body.encode(), headers)


def sidecar_post(name: str, key: str, content: str, *, route: str = "", token: str = SHARED_TOKEN) -> Post:
    """An event that a sidecar pushes."""
    event = {"event_id": key, "actor_id": f"{name}-user", "content": content, "reply_route": route}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Post(f"/v1/connectors/external/{name}/events", json.dumps(event).encode(), headers)


def slack_post(name: str, key: str, text: str, *, age: float = 0, secret: str = SLACK_SECRET) -> Post:
    """A message in our channel; ``key`` is the number of the event, its thread is its own."""
    number = next(_NUMBERS) if not key.isdecimal() else int(key)
    moment = f"1764151200.{number:06d}"
    message = {
        "type": "message", "channel": CHANNEL, "channel_type": "channel", "user": "U2147483697",
        "text": text, "ts": moment, "event_ts": moment,
    }  # fmt: skip
    envelope = {
        "type": "event_callback", "team_id": "T061EG9R6", "api_app_id": "A0FFV41KK",
        "event_id": f"Ev{key}", "event_time": 1764151200, "event": message,
    }  # fmt: skip
    body = json.dumps(envelope).encode()
    stamp = str(int(time.time() - age))
    signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": str(signature)}
    return Post(f"/v1/connectors/slack/{name}", body, headers)


def telegram_post(name: str, key: str, text: str, *, secret: str = TELEGRAM_SECRET) -> Post:
    """A message in our chat; ``key`` is the number of the update."""
    message = telegram.Message(
        message_id=int(key),
        date=datetime(2026, 11, 26, 10, 0, tzinfo=UTC),
        chat=telegram.Chat(id=CHAT, type="private", first_name="Ann"),
        from_user=telegram.User(id=42, is_bot=False, first_name="Ann"),
        text=text,
    )
    body = telegram.Update(update_id=int(key), message=message).to_json().encode()
    headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
    return Post(f"/v1/connectors/telegram/{name}", body, headers)


def send(url: str, post: Post) -> Reply:
    """Send once. Raises: OSError, HTTPException when there is no answer."""
    headers = {"Content-Type": "application/json", **post.headers}
    request = urllib.request.Request(url + post.path, data=post.body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            replayed = answer.headers.get("Idempotent-Replayed") == "true"
            said = json.loads(answer.read())
            return Reply(answer.status, said, replayed or said.get("status") == "duplicate")
    except urllib.error.HTTPError as refusal:
        return Reply(refusal.code, refusal.read().decode(errors="replace"))


def insist(url: str, post: Post) -> tuple[Reply, int]:
    """Send until there is an answer that is no failure of the service; also returns how often it failed."""
    until, failures = time.monotonic() + _PATIENCE_SECONDS, 0
    while True:
        try:
            reply = send(url, post)
            if reply.status < 500 and reply.status != 429:
                return reply, failures
        except (OSError, HTTPException, ValueError) as error:
            reply = Reply(0, repr(error))
        failures += 1
        assert time.monotonic() < until, f"{post.path} was never answered: {reply}"
        time.sleep(_AGAIN_SECONDS)
