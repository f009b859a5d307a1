"""The second factor of people: codes of an authenticator app (TOTP, RFC 6238), six digits every 30 seconds.

Its key is sealed like every secret and leaves the service once, in the picture that is scanned. A code is
taken once; wrong ones count as failed logins.
"""

import base64
import hmac
import secrets
import struct
import time
from hashlib import sha1
from typing import Any, Final
from urllib.parse import quote

from kheish_site.lib import clock, crypto
from kheish_site.lib.errors import Conflict, Forbidden
from kheish_site.lib.transactions import locked, write
from sessions_app.models import SecondFactor
from sessions_app.services import audit

ISSUER: Final = "Kheish"
STEP_SECONDS: Final = 30
DIGITS: Final = 6
_KEY_BYTES: Final = 20
_SKEW: Final = 1  # steps a clock may be off, either way


class WrongCode(Forbidden):
    """The code is not the one the app shows now, or was used already."""

    code, domain = "second_factor_wrong", "logins"


class FactorExists(Conflict):
    """There is a second factor already; remove it before you enrol another one."""

    code, domain = "second_factor_exists", "logins"


def is_on(user: Any) -> bool:
    """Tell whether the person has a confirmed second factor."""
    return SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exists()


def begin(user: Any) -> str:
    """Return the key of a new factor in base32, to be confirmed; a key that waits for that is kept.

    Raises: FactorExists.
    """
    with write():
        row = locked(SecondFactor.objects.filter(user=user)).first()
        if row is not None and row.confirmed_at is not None:
            raise FactorExists("there is a second factor already")
        if row is None:
            sealed = crypto.seal(secrets.token_bytes(_KEY_BYTES))
            row = SecondFactor.objects.create(user=user, sealed=sealed)
    return base64.b32encode(crypto.unseal(row.sealed)).decode()


def address(user: Any, key: str) -> str:
    """Return the ``otpauth`` address that an app reads from the picture."""
    name = quote(f"{ISSUER}:{user.get_username()}")
    return f"otpauth://totp/{name}?secret={key}&issuer={ISSUER}&digits={DIGITS}&period={STEP_SECONDS}"


def confirm(user: Any, code: str) -> None:
    """Put the factor in force with a first code. Raises: WrongCode, FactorExists."""
    with write():
        row = _taken(user, code, confirmed=False)
        row.confirmed_at = clock.now()
        row.save(update_fields=["confirmed_at", "last_step"])
        audit.record("second_factor.added", "person", user.get_username())


def verify(user: Any, code: str) -> None:
    """Take a code of the person's factor. Raises: WrongCode."""
    with write():
        _taken(user, code, confirmed=True).save(update_fields=["last_step"])


def remove(user: Any, *, reason: str = "") -> bool:
    """Take the factor away; tell whether there was one in force."""
    with write():
        row = locked(SecondFactor.objects.filter(user=user)).first()
        if row is None:
            return False
        row.delete()
        if row.confirmed_at is not None:
            audit.record("second_factor.removed", "person", user.get_username(), reason=reason)
        return row.confirmed_at is not None


def code_at(key: bytes, step: int) -> str:
    """Return the code of a time step (RFC 4226, RFC 6238)."""
    digest = hmac.new(key, struct.pack(">Q", step), sha1).digest()
    offset = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def _taken(user: Any, code: str, *, confirmed: bool) -> SecondFactor:
    """Return the row with ``last_step`` moved past the step of ``code``. Needs the open transaction."""
    rows = SecondFactor.objects.filter(user=user, confirmed_at__isnull=not confirmed)
    row = locked(rows).first()
    given = "".join(code.split())
    if row is not None and len(given) == DIGITS and given.isascii() and given.isdecimal():
        key, now = crypto.unseal(row.sealed), int(time.time()) // STEP_SECONDS
        for step in range(max(now - _SKEW, row.last_step + 1), now + _SKEW + 1):
            if hmac.compare_digest(code_at(key, step), given):
                row.last_step = step
                return row
    raise WrongCode("this is not the code your app shows now, or it was used already")
