"""A connector that talks to a local Slack, and events as Slack signs them."""

import json
import time
from itertools import count
from typing import Any
from urllib.parse import urlencode

from rest_framework.test import APIClient
from slack_sdk.signature import SignatureVerifier

from connectors_app.models import Connector
from tests.connectors_app.rows import make_connector
from tests.support.slack_server import TOKEN, SlackServer

SECRET = "slack-signing-canary-0815"
_NUMBERS = count(1)


def make_slack(server: SlackServer | None = None, name: str = "ops", **settings: Any) -> Connector:
    """A connector with both secrets; with a server it calls that."""
    given = {"bot_token": {"value": TOKEN}, "signing_secret": {"value": SECRET}}
    secrets = settings.pop("secrets", given)
    if server is not None:
        settings = {"api_base_url": server.api, "allow_private_network": True, **settings}
    return make_connector(name, kind="slack", secrets=secrets, **settings)


def envelope(text: str = "hello", *, event: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """A message somebody wrote, as Slack sends it; each its own unless ``event_id`` says otherwise."""
    message = {
        "type": "message",
        "channel": "C024BE91L",
        "channel_type": "channel",
        "user": "U2147483697",
        "text": text,
        "ts": "1355517523.000005",
        "event_ts": "1355517523.000005",
    }
    return {
        "token": "verification-token-of-old",
        "team_id": "T061EG9R6",
        "api_app_id": "A0FFV41KK",
        "type": "event_callback",
        "event_id": f"Ev{next(_NUMBERS):08d}",
        "event_time": 1355517523,
        "authorizations": [
            {"enterprise_id": None, "team_id": "T061EG9R6", "user_id": "UBOT", "is_bot": True}
        ],
        "event": {**message, **(event or {})},
        **members,
    }


def signed(body: bytes, *, secret: str = SECRET, age: float = 0) -> dict[str, str]:
    """The headers Slack puts on a body."""
    stamp = str(int(time.time() - age))
    signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": str(signature)}


def bring(value: Any, *, name: str = "ops", headers: dict[str, str] | None = None, **more: str) -> Any:
    """Send an event the way Slack does."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    given = signed(body) if headers is None else headers
    return APIClient().generic(
        "POST",
        f"/v1/connectors/slack/{name}",
        body,
        content_type="application/json",
        headers={**given, **more},
    )


def press(payload: dict[str, Any], *, path: str = "ops/interactive", **signing: Any) -> Any:
    """Send a click the way Slack does."""
    body = urlencode({"payload": json.dumps(payload)}).encode()
    return APIClient().generic(
        "POST",
        f"/v1/connectors/slack/{path}",
        body,
        content_type="application/x-www-form-urlencoded",
        headers=signed(body, **signing),
    )
