"""``ENGINE`` of the services profile: Django's backend, with prepared statements and a cheaper pool.

Django binds parameters on the client, so the server parses and plans every statement anew, and its pool asks
the server whether a connection lives each time it gives one out. For the few statements that every run makes
both cost more than the statement itself. What the driver raises is Django's exception everywhere here: an
outage is known by that.
"""

import select
from typing import Any

from django.db.backends.postgresql import base, operations
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from psycopg import Connection
from psycopg.adapt import AdaptersMap
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import ConnectionPool

ServerBindingCursor: Any = base.ServerBindingCursor  # the stubs do not know what it is made of


class DatabaseOperations(operations.DatabaseOperations):
    """Django's, able to show a statement that the server has bound, for whoever counts or explains them."""

    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        """Return the statement with its parameters in it."""
        if isinstance(cursor, ServerBindingCursor):
            return str(self.compose_sql(sql, params))
        return super().last_executed_query(cursor, sql, params)


class DatabaseWrapper(base.DatabaseWrapper):
    """See the module."""

    ops_class = DatabaseOperations

    def get_connection_params(self) -> dict[str, Any]:
        """Return Django's parameters; whole numbers go as ``bigint``.

        By itself the driver takes the smallest type that holds the number, and each mixture of types would be
        a prepared statement of its own.
        """
        params = super().get_connection_params()
        adapters = AdaptersMap(get_adapters_template(True, self.timezone))
        adapters.register_dumper(int, Int8Dumper)
        return {**params, "context": adapters}

    @property
    def pool(self) -> Any:
        """The process's pool, which asks the server only about connections that have something to say."""
        found = super().pool
        if found is not None and found._check is ConnectionPool.check_connection:
            found._check = check
        return found

    def prepared_cursor(self) -> Any:
        """Return a cursor whose statements the server parses once for each connection.

        For statements of fixed text; the server binds the parameters, and must be able to tell their types.
        Whoever counts or logs statements is told of these as of all others.
        """
        wrapper: Any = self
        self.ensure_connection()
        if self.queries_logged or self.execute_wrappers:
            with self.wrap_database_errors:
                return wrapper._prepare_cursor(ServerBindingCursor(self.connection))
        return _PreparedCursor(self.connection, self.wrap_database_errors)

    def chunked_cursor(self) -> Any:
        """Return Django's cursor on the server, whose end is asked of the server as well.

        Django lets what the driver raises there through as it is, and nobody would take it for an outage.
        """
        made: Any = super().chunked_cursor()
        close = made.close

        def closed() -> None:
            with self.wrap_database_errors:
                close()

        made.close = closed
        return made


class _PreparedCursor:
    """The driver's cursor with Django's exceptions, and nothing else between statement and server."""

    __slots__ = ("_cursor", "_errors", "fetchall", "fetchone")

    def __init__(self, connection: Any, errors: Any) -> None:
        self._cursor, self._errors = ServerBindingCursor(connection), errors
        self.fetchone, self.fetchall = self._cursor.fetchone, self._cursor.fetchall

    def __enter__(self) -> "_PreparedCursor":
        return self

    def __exit__(self, *error: object) -> None:
        self._cursor.close()

    def execute(self, statement: str, params: Any = None) -> None:
        """Raises what any other cursor of Django's raises."""
        with self._errors:
            self._cursor.execute(statement, params)

    @property
    def rowcount(self) -> int:
        """Rows written or found."""
        return int(self._cursor.rowcount)


def check(connection: "Connection[Any]") -> None:
    """Raise what the driver raises when the server has closed the connection; a live one costs nothing.

    An idle connection that can be read from was closed or has an error to tell. A peer that vanished without
    a word is found out by the next statement, as it would be by a question.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)
