"""Take away a person's second factor, for whoever lost their phone."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from sessions_app.services import second_factor


class Command(BaseCommand):
    """Works on this machine alone, where whoever runs it could read the database anyway; the log has it."""

    help = "Take away a person's second factor; they sign in with the password and may enrol another one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who."""
        parser.add_argument("username")
        parser.add_argument("--reason", default="", help="kept in the audit log")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take it away, if there is one."""
        users = get_user_model()
        user = users.objects.filter(**{users.USERNAME_FIELD: options["username"]}).first()
        if user is None:
            raise CommandError(f"There is no account {options['username']}.")
        had = second_factor.remove(user, reason=options["reason"])
        self.stdout.write("The second factor is gone." if had else "There was none.")
