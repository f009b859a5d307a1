"""PostgreSQL: the hash chain of a batch of journal entries as a function of its head."""

from django.db import migrations

from sessions_app.migrations._journal_chain import create, drop


class Migration(migrations.Migration):
    """Adds ``kheish_chain``."""

    dependencies = [("sessions_app", "0001_initial_rows")]
    operations = [migrations.RunPython(create, drop)]
