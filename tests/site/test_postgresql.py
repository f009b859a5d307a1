"""The backend for PostgreSQL: what it keeps prepared, and which connections it asks about."""

from typing import Any

import psycopg
import pytest
from django.db import DataError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from psycopg_pool import ConnectionPool

from kheish_site.lib.prepared import Prepared, prepared_cursor
from kheish_site.lib.transactions import release_connection
from kheish_site.postgresql import base
from sessions_app.models import Session
from sessions_app.services import events
from sessions_app.services.events import Place
from tests.factories import make_session

pytestmark = [pytest.mark.services_only, pytest.mark.django_db(transaction=True)]
BACKEND = "SELECT pg_backend_pid()"


def kept() -> int:
    """Return how many statements the server keeps prepared for this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        return int(cursor.fetchone()[0])


def test_a_statement_of_the_hot_path_is_prepared_once_whatever_its_numbers() -> None:
    read = Prepared[Session](lambda pk: Session.objects.filter(pk=pk).order_by(), int)
    before = kept()
    for pk in (1, 40_000, 2**31, 2**40):
        read.all(pk)
        read.all(pk)
    assert kept() == before + 1


def test_a_prepared_statement_is_planned_once() -> None:
    for row in range(12):
        events.global_news(Place(1, row))
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements")
        generic, custom = cursor.fetchone()
    assert generic >= 10
    assert custom == 0


def test_a_prepared_statement_is_shown_with_its_values() -> None:
    with CaptureQueriesContext(connection) as seen, prepared_cursor() as cursor:
        cursor.execute("SELECT %s::int + 1", [41])
        assert cursor.fetchone() == (42,)
    assert seen.captured_queries[0]["sql"] == "SELECT 41::int + 1"


def test_a_prepared_statement_fails_as_any_other() -> None:
    with pytest.raises(DataError), prepared_cursor() as cursor:
        cursor.execute("SELECT 1 / %s::int", [0])


def test_a_cursor_on_the_server_fails_as_any_other_where_its_end_finds_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Django leaves the end of what ``iterator()`` reads to the driver, whose exceptions nobody looks for."""
    make_session("read-in-pieces")
    close, seen = psycopg.ServerCursor.close, list[Any]()

    def cut(cursor: Any) -> None:
        seen.append(cursor)
        end_backend(cursor.connection.info.backend_pid)
        close(cursor)

    monkeypatch.setattr(psycopg.ServerCursor, "close", cut)
    with pytest.raises(OperationalError):
        list(Session.objects.order_by("pk").iterator(chunk_size=10))
    monkeypatch.undo()
    connection.close()
    close(seen[0])
    assert Session.objects.count() == 1


def end_backend(pid: int) -> None:
    """Let the server close one connection, from another."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()


def test_a_live_connection_is_given_out_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(ConnectionPool, "check_connection", staticmethod(asked.append))
    connection.ensure_connection()
    release_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert asked == []


def test_a_connection_that_the_server_closed_is_not_given_out() -> None:
    with connection.cursor() as cursor:
        cursor.execute(BACKEND)
        (ours,) = cursor.fetchone()
    raw = connection.connection
    base.check(raw)
    end_backend(ours)
    with pytest.raises(psycopg.OperationalError):
        base.check(raw)
    release_connection()
    with connection.cursor() as cursor:
        cursor.execute(BACKEND)
        assert cursor.fetchone()[0] != ours
