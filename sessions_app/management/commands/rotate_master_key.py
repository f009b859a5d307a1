"""Rotate the master key. Safe to interrupt and to run again at any point."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from kheish_site.lib.errors import KheishError
from sessions_app.models import SecretSlot
from sessions_app.services import master_key


class Command(BaseCommand):
    """Put a new master key in force and seal all secrets again under it."""

    help = "Rotate the master key that seals secrets at rest."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--drop-old",
            action="store_true",
            help="forget the older keys; backups made under them cannot be read",
        )
        parser.add_argument(
            "--reseal-only",
            action="store_true",
            help="make no key: seal everything under the first key of KHEISH_MASTER_KEY or of the key file",
        )

    def handle(self, *args: Any, drop_old: bool, reseal_only: bool, **options: Any) -> None:
        """Do it and say what was done."""
        _want_secrets()
        try:
            if reseal_only:
                self.stdout.write(f"{master_key.reseal_only()} secrets sealed under the first key.")
                return
            done = master_key.rotate(drop_old=drop_old)
        except master_key.KeysInEnvironment as error:
            raise CommandError(
                f"{error.detail}, restart every process, then run: rotate_master_key --reseal-only"
            ) from error
        except KheishError as error:
            raise CommandError(error.detail) from error
        kept = (
            "older keys dropped"
            if drop_old
            else f"{done.keys_kept - 1} older key(s) kept; --drop-old forgets them"
        )
        self.stdout.write(f"{done.resealed} secrets sealed under a new master key; {kept}.")


def _want_secrets() -> None:
    """Refuse where `serve` and `prepare` never were, before a key is made that seals nothing."""
    if SecretSlot._meta.db_table not in connection.introspection.table_names():
        state_dir = settings.KHEISH.state_dir
        raise CommandError(
            f"this database (state folder {state_dir}) was never prepared: is KHEISH_STATE_DIR the service's?"
        )
