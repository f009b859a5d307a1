"""Canonical JSON (RFC 8785) and the digests built on it.

An approval binds to ``digest(call)``, an idempotency key to ``digest(body)``, a journal entry to
``digest(payload)``; anybody with an RFC 8785 library can recompute them.
"""

import hashlib
from decimal import Decimal
from typing import Any, Final

import rfc8785

_EXACT_INTEGER: Final = 2**53 - 1


def canonical_json(value: Any) -> str:
    """Return ``value`` as canonical JSON text.

    Integers outside ±(2^53-1) have no canonical form; they become ``{"$integer": "digits"}``, whether they
    were written as integers or as floats: a database gives ``1e22`` back as an integer.
    Raises: ValueError for NaN and infinities, TypeError for what is not JSON.
    """
    return rfc8785.dumps(_exact(value)).decode()


def sha256_hex(data: bytes | str) -> str:
    """Return the SHA-256 of ``data`` (text as UTF-8) in lower-case hex."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value`` in lower-case hex."""
    return sha256_hex(canonical_json(value))


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT_INTEGER:
        return {"$integer": str(value)}
    if isinstance(value, float) and value.is_integer() and abs(value) > _EXACT_INTEGER:
        return {"$integer": str(int(Decimal(repr(value))))}
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8 form
    return value
