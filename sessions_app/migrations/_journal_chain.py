"""PostgreSQL: the hash chain of a batch of journal entries as a function of its head.

For the two migrations that make it: the second of the history, and the one that replaces the history.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CREATE = """
CREATE FUNCTION kheish_chain(head text, first_seq bigint, digests text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE hashes text[] := '{}';
BEGIN
  FOR i IN 1 .. COALESCE(array_length(digests, 1), 0) LOOP
    head := encode(sha256(convert_to(head || ':' || (first_seq + i - 1) || ':' || digests[i], 'UTF8')), 'hex');
    hashes := hashes || head;
  END LOOP;
  RETURN hashes;
END $$
"""
DROP = "DROP FUNCTION IF EXISTS kheish_chain(text, bigint, text[])"


def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """SQLite chains in Python (services/writes/portable.py) and needs nothing."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CREATE.replace("%", "%%"))


def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Undo ``create``."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(DROP)
