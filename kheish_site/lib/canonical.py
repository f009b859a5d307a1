"""Canonical JSON (RFC 8785) and the digests built on it.

An approval binds to ``digest(call)``, an idempotency key to ``digest(body)``, a journal entry to
``digest(payload)``; anybody with an RFC 8785 library can recompute them.
"""

import hashlib
import json
from decimal import Decimal
from typing import Any, Final

import rfc8785

_EXACT_INTEGER: Final = 2**53 - 1
_PLAIN: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
"""Writes RFC 8785 too, ten times faster, except for floats and for names that UTF-16 sorts its own way."""


def canonical_json(value: Any) -> str:
    """Return ``value`` as canonical JSON text.

    Integers outside ±(2^53-1) have no canonical form; they become ``{"$integer": "digits"}``, whether they
    were written as integers or as floats: a database gives ``1e22`` back as an integer.
    Raises: ValueError for NaN and infinities, TypeError for what is not JSON.
    """
    odd: list[Any] = []
    exact = _exact(value, odd)
    return rfc8785.dumps(exact).decode() if odd else _PLAIN.encode(exact)


def sha256_hex(data: bytes | str) -> str:
    """Return the SHA-256 of ``data`` (text as UTF-8) in lower-case hex."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value`` in lower-case hex."""
    return sha256_hex(canonical_json(value))


def _exact(value: Any, odd: list[Any]) -> Any:
    """Return ``value`` with large integers and broken text spelled out; ``odd`` gets what is not plain."""
    if isinstance(value, str):
        # a lone surrogate has no UTF-8 form
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        named = {str(key): _exact(item, odd) for key, item in value.items()}
        odd += [name for name in named if not name.isascii()]
        return named
    if isinstance(value, list | tuple):
        return [_exact(item, odd) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT_INTEGER:
        return {"$integer": str(value)}
    if isinstance(value, float):
        if value.is_integer() and abs(value) > _EXACT_INTEGER:
            return {"$integer": str(int(Decimal(repr(value))))}
        odd.append(value)
    return value
