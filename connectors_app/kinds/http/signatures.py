"""Proof of the sender: a bearer token, our own signature, or one of the Standard Webhooks specification.

Ours: ``X-Kheish-Timestamp`` and ``X-Kheish-Signature: v1=<64 hex>``, HMAC-SHA256 over
``v1:<METHOD>:<path with query>:<timestamp>:<body>``. Theirs: ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature: v1,<base64> …`` over ``<id>.<timestamp>.<body>``, the secret written ``whsec_<base64>``.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from connectors_app.api.ingress import IngressUnauthorized

_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"v1=([0-9a-f]{64})", re.ASCII)
_MOST_SIGNATURES: Final = 10


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The parts of a request that a signature covers. Header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a request proved. ``signed``: only what the signature covers may name the event.

    Then ``event_id`` is the signed id of Standard Webhooks, "" in our own scheme, and ``signature`` the
    signature itself, which differs for every second and every body.
    """

    authenticated: bool = False
    signed: bool = False
    event_id: str = ""
    signature: str = ""


def check_bearer(given: str, token: str) -> None:
    """Raise IngressUnauthorized unless the ``Authorization`` header carries the token."""
    scheme, _, value = given.partition(" ")
    same = hmac.compare_digest(value.strip().encode("utf-8", "replace"), token.encode())
    if scheme.lower() != "bearer" or not same:
        raise IngressUnauthorized("the bearer token is missing or wrong")


def check_signature(signed: Signed, secret: str, *, max_age_seconds: int, now: float) -> Proof:
    """Return what one of the two schemes proves. ``now``: Unix seconds. Raises: IngressUnauthorized."""
    if not secret:
        raise IngressUnauthorized("the connector has no secret to check signatures with")
    ours = "x-kheish-signature" in signed.headers
    check = _check_ours if ours or "webhook-signature" not in signed.headers else _check_standard
    return check(signed, secret, max_age_seconds, now)


def _check_ours(signed: Signed, secret: str, max_age_seconds: int, now: float) -> Proof:
    stamp = _fresh(signed.headers.get("x-kheish-timestamp", ""), max_age_seconds, now)
    found = _SIGNATURE.fullmatch(signed.headers.get("x-kheish-signature", ""))
    text = f"v1:{signed.method}:{signed.target}:{stamp}:".encode() + signed.body
    if not found or not hmac.compare_digest(found[1], _hex(secret.encode(), text)):
        raise IngressUnauthorized("the signature is missing, malformed or wrong")
    return Proof(authenticated=True, signed=True, signature=found[1])


def _check_standard(signed: Signed, secret: str, max_age_seconds: int, now: float) -> Proof:
    stamp = _fresh(signed.headers.get("webhook-timestamp", ""), max_age_seconds, now)
    event_id = signed.headers.get("webhook-id", "")
    text = f"{event_id}.{stamp}.".encode() + signed.body
    wanted = base64.b64encode(hmac.digest(_standard_key(secret), text, hashlib.sha256)).decode()
    given = signed.headers["webhook-signature"].split(" ")[:_MOST_SIGNATURES]
    values = [value for version, _, value in (item.partition(",") for item in given) if version == "v1"]
    matches = [hmac.compare_digest(value.encode("utf-8", "replace"), wanted.encode()) for value in values]
    if not event_id or not any(matches):
        raise IngressUnauthorized("the signature is missing, malformed or wrong")
    return Proof(authenticated=True, signed=True, event_id=event_id, signature=wanted)


def _standard_key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()


def _fresh(text: str, max_age_seconds: int, now: float) -> str:
    if not _SECONDS.fullmatch(text) or abs(now - int(text)) > max_age_seconds:
        raise IngressUnauthorized("the timestamp is missing, malformed or too far from now")
    return text


def _hex(key: bytes, text: bytes) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest()
