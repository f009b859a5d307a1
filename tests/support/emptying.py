"""Emptying the database after a test that commits, and leaving it after the last one."""

import os
from functools import cache

import psycopg
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test import TransactionTestCase

KEPT = {Permission._meta.db_table, ContentType._meta.db_table}
"""What migrations fill; no test changes it."""


@cache
def _which_are_filled() -> str:
    tables = [name for name in connection.introspection.django_table_names() if name not in KEPT]
    found = [f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM \"{name}\")" for name in tables]
    return " UNION ALL ".join(found)


def empty_tables(case: TransactionTestCase) -> None:
    """Delete every row, in place of Django's flush.

    The flush truncates each table, full or not, and makes all permissions again: on PostgreSQL that takes
    longer than most tests, and there are a thousand of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(_which_are_filled())
        filled = [name for (name,) in cursor.fetchall()]
        with transaction.atomic():  # foreign keys are looked at when it ends
            for name in filled:
                cursor.execute(f'DELETE FROM "{name}"')


def end_sessions() -> None:
    """End every session of this database of PostgreSQL, as who drops it must be alone."""
    with psycopg.connect(os.environ["KHEISH_TEST_DATABASE_URL"]) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [connection.settings_dict["NAME"]],
        )
