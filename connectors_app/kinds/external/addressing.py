"""The names made from a sidecar's event: receipt, fingerprint, conversation, session.

A thread is bound by its whole path only: otherwise all conversations that begin alike would share a session.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kheish_site.lib.canonical import digest, sha256_hex

UNFINGERPRINTED: Final = ("instance_id", "protocol_version")


def receipt_key(name: str, event_id: str) -> str:
    """Return the name of an event within its connector."""
    return f"external:{name}:{sha256_hex(event_id)[:32]}"


def fingerprint(event: Mapping[str, Any]) -> str:
    """Return the digest of the event without the instance and protocol version that brought it."""
    return digest({member: value for member, value in event.items() if member not in UNFINGERPRINTED})


def natural_id(name: str, platform: str, path: Sequence[str], routing_key: str) -> str:
    """Return the session of an unbound conversation, "" when the event belongs to none."""
    if path:
        identity: list[Any] = [platform, list(path)]
    elif routing_key:
        identity = ["routing_key", platform, routing_key]
    else:
        return ""
    text = json.dumps(identity, ensure_ascii=False, separators=(",", ":"))
    return f"external:{name}:{sha256_hex(text)[:16]}"


def binding_key(name: str, platform: str, path: Sequence[str], routing_key: str) -> str:
    """Return the durable name of the conversation, "" when there is none."""
    begin = f"external:{name}:{_b64(platform)}"
    if path:
        return ":".join([begin, *map(_b64, path)])
    return f"{begin}:route:{_b64(routing_key)}" if routing_key else ""


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
