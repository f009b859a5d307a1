"""What the models promise is in the database."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

RESTORE = import_module("sessions_app.migrations.0011_one_active_run")


def missing() -> list[str]:
    """Indexes and constraints that a model names and the database does not have."""
    gone = []
    with connection.cursor() as cursor:
        for model in apps.get_models():
            options = model._meta
            found = connection.introspection.get_constraints(cursor, options.db_table)
            gone += [one.name for one in (*options.indexes, *options.constraints) if one.name not in found]
    return gone


@pytest.mark.django_db
def test_every_index_and_constraint_is_in_the_database():
    assert missing() == []


@pytest.mark.services_only
@pytest.mark.django_db
def test_a_database_that_lost_its_rule_of_one_active_run_gets_it_back():
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {RESTORE.NAME}")
    assert missing() == [RESTORE.NAME]
    with connection.schema_editor(atomic=False) as editor:
        RESTORE.restore(apps, editor)
        RESTORE.restore(apps, editor)
    assert missing() == []
