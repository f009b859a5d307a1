"""Whether Slack signed a request: v0 over timestamp and raw body, within five minutes of now."""

import re
from typing import Any, Final

from slack_sdk.signature import Clock, SignatureVerifier

from connectors_app.kinds.slack.settings import options
from connectors_app.models import Connector
from connectors_app.services import connectors
from kheish_site.lib import clock

_TIMESTAMP: Final = re.compile(r"\d{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)


class _Now(Clock):
    def now(self) -> float:
        return clock.now().timestamp()


def is_signed(secret: str, raw: bytes, headers: Any) -> bool:
    """Tell whether ``raw`` is signed with ``secret`` and stamped within 300 seconds of now."""
    timestamp = headers.get("X-Slack-Request-Timestamp", "")
    signature = headers.get("X-Slack-Signature", "")
    if not secret.strip() or not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(signature):
        return False
    try:
        return SignatureVerifier(secret, clock=_Now()).is_valid(raw, timestamp, signature)
    except UnicodeDecodeError:  # the verifier needs text, which is all that Slack sends
        return False


def is_authentic(connector: Connector, raw: bytes, headers: Any) -> bool:
    """Tell whether the request counts as Slack's: a configured secret must have signed it.

    Raises: Unavailable(connector_secret_unreadable).
    """
    if connectors.holds(connector, "signing_secret"):
        return is_signed(connectors.secret(connector, "signing_secret"), raw, headers)
    return options(connector).allow_unauthenticated_ingress
