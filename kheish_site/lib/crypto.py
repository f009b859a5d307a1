"""Encryption at rest: MultiFernet under the master key.

``settings.KHEISH.master_keys`` lists Fernet keys, newest first: the first encrypts, all decrypt, so
a rotation can run while old rows still exist.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from kheish_site.lib.errors import KheishError


class Unreadable(KheishError):
    """A sealed value was made under a master key this installation does not hold."""

    code = "master_key_mismatch"
    domain = "runtime"


def _box() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.KHEISH.master_keys])


def seal(value: bytes) -> str:
    """Encrypt ``value`` under the newest master key; the text is safe to store in a row."""
    return _box().encrypt(value).decode()


def unseal(sealed: str) -> bytes:
    """Return what ``seal`` was given. Raises: Unreadable."""
    try:
        return _box().decrypt(sealed.encode())
    except InvalidToken as error:
        raise Unreadable("a stored secret cannot be read with the configured master key") from error


def reseal(sealed: str) -> str:
    """Encrypt a sealed value again under the newest master key. Raises: Unreadable."""
    try:
        return _box().rotate(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unreadable("a stored secret cannot be read with the configured master key") from error
