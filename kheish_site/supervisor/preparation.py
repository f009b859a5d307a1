"""Whether a start must prepare anything: the last preparation's note, compared with the state now."""

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from kheish_site.supervisor.state import CODE

_TESTS: Final = ("KHEISH_CRASHPOINT", "KHEISH_TESTING")
_NEEDED: Final = ("operator.token", "secret.key")
_MARKS: Final = (
    "SELECT app, name FROM django_migrations ORDER BY app, name",
    "SELECT secret_hash FROM sessions_app_apitoken WHERE name = 'local' AND revoked_at IS NULL ORDER BY id",
)
_CONFIGURATION: Final = ("KHEISH_ROUTES_FILE", "KHEISH_CONNECTORS_FILE")
_LONGEST_NAME: Final = 250
_QUOTED: Final = re.compile(r"\"([^\"\n]+)\"|'([^'\n]+)'")


class Preparation:
    """The note in one state folder. ``database_url`` is PostgreSQL's, "" for SQLite in the folder."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder, self._url = folder, database_url
        self._note = folder / "prepared.json"

    def holds(self) -> bool:
        """Tell whether code, configuration and database are as the last preparation left them."""
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
        """Return a digest of the database's state; "" when it is missing or was never prepared.

        A database that was emptied, restored or replaced has other migrations or another local token.
        """
        marks = self._postgresql() if self._url else self._sqlite()
        return hashlib.sha256(repr(marks).encode()).hexdigest() if marks and all(marks) else ""

    def _postgresql(self) -> list[Any]:
        import psycopg  # not needed with SQLite

        try:
            with psycopg.connect(self._url, connect_timeout=5) as connection:
                return [connection.execute(mark).fetchall() for mark in _MARKS]
        except psycopg.Error:
            return []

    def _sqlite(self) -> list[Any]:
        file = self._folder / "kheish.sqlite3"
        try:  # "rw" does not create a missing file
            with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)) as connection:
                return [connection.execute(mark).fetchall() for mark in _MARKS]
        except sqlite3.Error:
            return []


def fingerprint() -> str:
    """Return a digest of all that preparation depends on: code, requirements, environment, configuration."""
    digest = hashlib.sha256()
    variables, files = _named()
    for file in (*_sources(), *files):
        digest.update(f"{file}\0".encode())
        digest.update(file.read_bytes() if file.is_file() else b"missing")
    ours = (name for name in os.environ if name.startswith("KHEISH_") and not name.startswith(_TESTS))
    for name in sorted({*ours, *variables}):
        digest.update(f"{name}={os.environ[name]}\0".encode())
    return digest.hexdigest()


def _named() -> tuple[list[str], list[Path]]:
    """Return the variables and files that the configuration files name: they may hold secrets it reads."""
    variables, files = set(), set()
    for file in filter(Path.is_file, _configuration()):
        for found in _QUOTED.findall(file.read_text(errors="replace")):
            word = "".join(found)
            if word in os.environ:
                variables.add(word)
            elif len(word) < _LONGEST_NAME and (file.parent / word).is_file():
                files.add(file.parent / word)
    return sorted(variables), sorted(files)


def _configuration() -> Iterable[Path]:
    named = (os.environ.get(name) for name in _CONFIGURATION)
    return [Path(name).expanduser().absolute() for name in named if name]


def _sources() -> Iterable[Path]:
    yield CODE / "requirements.txt"
    yield from sorted(CODE.glob("*_app/migrations/*.py"))
    yield from sorted(CODE.glob("sessions_app/services/*.py"))
    yield from _configuration()
