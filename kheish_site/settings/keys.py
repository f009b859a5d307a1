"""The keys of an installation: Django's secret key, the master key that seals secrets at rest, and the key
that signs the audit records.

Each comes from ``NAME``, from the file named by ``NAME_FILE``, or else from a file in the state folder
which is made on first use, readable by its owner alone.
"""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from kheish_site.lib.action_chain import decoded_key
from kheish_site.settings import env

Maker = Callable[[], str]


def private_folder(folder: Path) -> Path:
    """Make ``folder`` with mode 0700 if it is missing, and return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def secret_key(state_dir: Path) -> str:
    """Django's ``SECRET_KEY``: signs sessions and cursors; changing it signs everybody out."""
    return _read("KHEISH_SECRET_KEY", state_dir / "secret.key", lambda: secrets.token_urlsafe(50))


def master_keys(state_dir: Path) -> tuple[str, ...]:
    """Fernet keys, newest first: the first seals, all of them unseal (one a line or comma-separated)."""
    written = _read("KHEISH_MASTER_KEY", state_dir / "master.key", new_master_key)
    keys = tuple(written.replace(",", " ").split())
    for key in keys:
        if not _is_fernet_key(key):
            raise ImproperlyConfigured("KHEISH_MASTER_KEY must hold 32 bytes in URL-safe base64 for each key")
    return keys


def new_master_key() -> str:
    """A fresh Fernet key."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def master_key_file(state_dir: Path) -> Path:
    """Where the master keys are kept when the environment does not hold them."""
    return env.path("KHEISH_MASTER_KEY_FILE") or state_dir / "master.key"


def audit_signing_key(state_dir: Path) -> str:
    """The Ed25519 key of the external-action ledger: 32 bytes in base64. Keep it with the ledger."""
    written = _read("KHEISH_AUDIT_SIGNING_KEY", state_dir / "audit-signing.key", new_master_key)
    try:
        decoded_key(written)
    except ValueError:
        raise ImproperlyConfigured("KHEISH_AUDIT_SIGNING_KEY must hold 32 bytes in base64") from None
    return written


def _read(name: str, default_file: Path, fresh: Maker) -> str:
    value = env.text(name)
    if value:
        return value
    named = env.path(f"{name}_FILE")
    if named is not None and not named.is_file():
        raise ImproperlyConfigured(f"{name}_FILE names {named}, which is not a file")
    return _read_or_make(named or default_file, fresh)


def _read_or_make(file: Path, fresh: Maker) -> str:
    """The file's text. Made by link(2), so that two processes starting at once agree on one key."""
    if not file.exists():
        private_folder(file.parent)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(fresh() + "\n")
        try:
            os.link(draft, file)
        except FileExistsError:
            pass  # another process was first: its key counts
        finally:
            draft.unlink()
    value = file.read_text().strip()
    if not value:
        raise ImproperlyConfigured(
            f"{file} is empty: restore it from a backup, or remove it to make a new one"
        )
    return value


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == 32
    except ValueError:
        return False
