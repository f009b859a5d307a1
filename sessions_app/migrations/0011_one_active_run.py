"""The rule that a session has one active run at most, where the migration before had dropped it.

Taking the plain index of a foreign key away, Django drops every index of that one column that is no
``Meta.indexes``: on PostgreSQL also the partial unique one. Databases made since by the replacing migration
have it.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

NAME = "run_one_active"


def restore(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Add the constraint unless it is there."""
    run, connection = apps.get_model("sessions_app", "Run"), schema_editor.connection
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, run._meta.db_table)
    if NAME not in found:
        (missing,) = (one for one in run._meta.constraints if one.name == NAME)
        schema_editor.add_constraint(run, missing)


class Migration(migrations.Migration):
    """Restores ``run_one_active``."""

    dependencies = [("sessions_app", "0010_one_index_each")]
    operations = [migrations.RunPython(restore, migrations.RunPython.noop)]
