"""Encryption at rest: MultiFernet under the master key.

Keys are Fernet keys, newest first: the first encrypts, all decrypt, so a rotation can run while old
rows still exist. They come from ``settings.KHEISH.master_keys``; when those were read from the key
file, the file is read again whenever it changes, so that a rotation needs no restart.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from kheish_site.lib.errors import KheishError

_WRONG_KEY: Final = "a stored secret cannot be read with the configured master key"


class Unreadable(KheishError):
    """A sealed value was made under a master key this installation does not hold."""

    code = "master_key_mismatch"
    domain = "runtime"


def master_keys() -> tuple[str, ...]:
    """Return the keys in force now, newest first."""
    kheish = settings.KHEISH
    if kheish.master_keys_in_environment:
        return tuple(kheish.master_keys)
    try:
        changed_at = kheish.master_key_file.stat().st_mtime_ns
        return _keys_in(kheish.master_key_file, changed_at) or tuple(kheish.master_keys)
    except FileNotFoundError:
        return tuple(kheish.master_keys)  # what was read at the start still opens the rows


@lru_cache(maxsize=4)
def _keys_in(file: Path, changed_at: int) -> tuple[str, ...]:
    return tuple(file.read_text().replace(",", " ").split())


def _box() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in master_keys()])


def seal(value: bytes) -> str:
    """Encrypt ``value`` under the newest master key; the text is safe to store in a row."""
    return _box().encrypt(value).decode()


def unseal(sealed: str) -> bytes:
    """Return what ``seal`` was given. Raises: Unreadable."""
    try:
        return _box().decrypt(sealed.encode())
    except InvalidToken as error:
        raise Unreadable(_WRONG_KEY) from error


def reseal(sealed: str) -> str:
    """Encrypt a sealed value again under the newest master key. Raises: Unreadable."""
    try:
        return _box().rotate(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unreadable(_WRONG_KEY) from error
