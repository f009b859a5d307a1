"""A session's entries keep their order among those of all sessions.

A transaction gets its number with its first write, and may wait for the session's row afterwards: whoever passes
it meanwhile has a greater number and the earlier entry.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CREATE = """
CREATE FUNCTION kheish_commit_order(last bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT AS $$
DECLARE own bigint := pg_current_xact_id()::text::bigint;
BEGIN
  -- A number that this cluster has not given out yet came with a dump of another one.
  IF last > own AND last < pg_snapshot_xmax(pg_current_snapshot())::text::bigint THEN
    RETURN last;
  END IF;
  RETURN own;
END $$
"""
DROP = "DROP FUNCTION IF EXISTS kheish_commit_order(bigint)"


def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """SQLite has one writer, and needs nothing."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE)


def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Undo ``create``."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP)


class Migration(migrations.Migration):
    """Adds ``Session.last_order`` and ``kheish_commit_order``."""

    dependencies = [("sessions_app", "0011_one_active_run")]
    operations = [
        migrations.AddField("session", "last_order", models.BigIntegerField(default=0)),
        migrations.RunPython(create, drop),
    ]
