"""Many rows made at once: copies of a row that the service wrote itself, by SQL, in either profile.

For measurements with more rows than there is time to make. The copies are what the service's own queries
look at; a copied journal is dense, and its hashes are those of its model: verifying it would fail.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg

from bench._service import Bench, say

SESSIONS: Final = "sessions_app_session"
RUNS: Final = "sessions_app_run"
ENTRIES: Final = "sessions_app_journalentry"
CHECKPOINTS: Final = "sessions_app_checkpoint"
_BATCH: Final = 100_000
_SQLITE_SECONDS: Final = 60.0


class Rows:
    """The database of the service, past the service."""

    def __init__(self, connection: Any, *, is_sqlite: bool) -> None:
        self._connection, self._is_sqlite = connection, is_sqlite

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows."""
        cursor = self._connection.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []

    def value(self, query: str) -> int:
        """Return the number that a query finds."""
        ((found,),) = self.run(query)
        return int(found or 0)

    def settle(self) -> None:
        """Let the database learn how many rows there are, as it would by itself after a while."""
        self.run("ANALYZE" if self._is_sqlite else "VACUUM (ANALYZE)")

    def copy(self, table: str, where: str, times: int, changes: Mapping[str, str]) -> None:
        """Insert each row that ``where`` finds so many times more.

        ``changes`` are SQL for the columns that differ; ``n`` is the number of the copy and ``t`` the row.
        """
        names = [name for name in self._columns(table) if name != "id"]
        values = ", ".join(changes.get(name, f't."{name}"') for name in names)
        into = ", ".join(f'"{name}"' for name in names)
        for begin in range(1, times + 1, _BATCH):
            last = min(begin + _BATCH - 1, times)
            numbers = (
                f"WITH RECURSIVE numbers(n) AS "
                f"(SELECT {begin} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})"
            )
            self.run(
                f"INSERT INTO {table} ({into}) {numbers} "
                f"SELECT {values} FROM numbers, {table} t WHERE {where} ORDER BY n, t.id"
            )
            if times > _BATCH:
                say(f"{table}: {last} of {times}")

    def _columns(self, table: str) -> list[str]:
        if self._is_sqlite:
            return [name for (name,) in self.run(f"SELECT name FROM pragma_table_info('{table}')")]
        query = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
        return [name for (name,) in self.run(query)]


@contextmanager
def rows(bench: Bench) -> Iterator[Rows]:
    """Open the service's database; each statement is a transaction."""
    if bench.database_url:
        with psycopg.connect(bench.database_url, autocommit=True) as connection:
            yield Rows(connection, is_sqlite=False)
        return
    with closing(sqlite3.connect(bench.sqlite, timeout=_SQLITE_SECONDS, isolation_level=None)) as connection:
        yield Rows(connection, is_sqlite=True)


def sessions(bench: Bench, count: int) -> list[str]:
    """Make so many sessions in which nothing has happened; returns their ids."""
    (model,) = bench.sessions(1)
    with rows(bench) as database:
        changes = {"session_id": "t.session_id || '-' || n"}
        database.copy(SESSIONS, f"t.session_id = '{model}'", count, changes)
    return [f"{model}-{number}" for number in range(1, count + 1)]
