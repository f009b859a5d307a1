"""Make a database ready to serve: what ``serve`` runs before it starts, and a deployment runs once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import on_postgresql
from sessions_app.services import accounts, ports, routes, routes_file, tokens


class Command(BaseCommand):
    """Idempotent. Prints one JSON line: ``{"login": {"username", "password"} or null}``."""

    help = "Migrate, and make groups, the first login, the local operator token and the default route."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is missing; the password of a new login appears in the output and nowhere else."""
        with _alone():
            call_command("migrate", interactive=False, verbosity=0)
            accounts.ensure_groups()
            tokens.ensure_local_token(settings.KHEISH.state_dir / "operator.token")
            self._configure()
            password = accounts.ensure_admin_login()  # last: what fails before must not keep it untold
        login = {"username": "admin", "password": password} if password else None
        self.stdout.write(json.dumps({"login": login}))

    def _configure(self) -> None:
        """Apply the routes file first: an installation that names its own routes gets no built-in one."""
        try:
            if settings.KHEISH.routes_file is not None:
                routes_file.load(settings.KHEISH.routes_file)
            routes.ensure_builtin()
            ports.prepare()
        except KheishError as error:
            raise CommandError(f"The configuration cannot be set up: {error.detail}") from error


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time prepare a PostgreSQL: on an empty one, a second would collide with the first.

    The lock is a transaction's on a connection of its own, so it ends with this process, however that ends.
    """
    if not on_postgresql():
        yield
        return
    import psycopg  # with SQLite nobody needs it here

    with psycopg.connect(settings.KHEISH.database_url, connect_timeout=5) as connection:
        connection.execute("SET LOCAL lock_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('kheish.prepare'))")
        yield
