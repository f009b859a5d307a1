"""Whether a start has anything to prepare: what was noted last time, and what the database says now."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kheish_site.supervisor.state import CODE

_NEEDED: Final = ("operator.token", "secret.key")
_MARK: Final = """
SELECT (SELECT string_agg(app || '.' || name, ',' ORDER BY app, name) FROM django_migrations),
       (SELECT string_agg(secret_hash, ',' ORDER BY id) FROM sessions_app_apitoken
        WHERE name = 'local' AND revoked_at IS NULL)
"""


class Preparation:
    """The note of one state folder. ``database_url`` is PostgreSQL's, "" for SQLite in the folder."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder, self._url = folder, database_url
        self._note = folder / "prepared.json"

    def holds(self) -> bool:
        """Tell whether code, configuration and database are those of the last preparation noted here."""
        try:
            noted = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return False
        whole = all((self._folder / name).exists() for name in _NEEDED)
        return whole and noted == self._now() and bool(noted["database"])

    def note(self) -> None:
        """Remember that the database fits this code and configuration."""
        self._note.write_text(json.dumps(self._now()) + "\n")

    def _now(self) -> dict[str, str]:
        return {"fingerprint": fingerprint(), "database": self._database()}

    def _database(self) -> str:
        """Return what names the database's state; "" when it is not there or was never prepared.

        One that was emptied, restored or exchanged has other migrations or another local token.
        """
        if not self._url:
            return "sqlite" if (self._folder / "kheish.sqlite3").exists() else ""
        import psycopg  # with SQLite nobody needs it here

        try:
            with psycopg.connect(self._url, connect_timeout=5) as connection:
                found = connection.execute(_MARK).fetchone()
        except psycopg.Error:
            return ""
        return hashlib.sha256(repr(found).encode()).hexdigest() if found and all(found) else ""


def fingerprint() -> str:
    """Digest of all that preparation depends on: migrations, the lock, the configuration of routes."""
    digest = hashlib.sha256()
    for file in _sources():
        digest.update(f"{file}\0".encode())
        digest.update(file.read_bytes() if file.is_file() else b"missing")
    settings = (name for name in os.environ if name.startswith("KHEISH_"))
    for name in sorted(
        name for name in settings if not name.startswith(("KHEISH_CRASHPOINT", "KHEISH_TESTING"))
    ):
        digest.update(f"{name}={os.environ[name]}\0".encode())
    return digest.hexdigest()


def _sources() -> Iterable[Path]:
    yield CODE / "requirements.txt"
    yield from sorted(CODE.glob("*_app/migrations/*.py"))
    yield from sorted(CODE.glob("sessions_app/services/*.py"))
    routes = os.environ.get("KHEISH_ROUTES_FILE")
    if routes:
        yield Path(routes).expanduser().absolute()
