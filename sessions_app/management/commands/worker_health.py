"""Tell whether a worker of this machine does its rounds: the health check of a worker container."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models.functions import Now

from sessions_app.models import Worker
from sessions_app.services import processes


class Command(BaseCommand):
    """Exit code 1 unless a worker of this host was seen within the life of a lease.

    A worker refreshes its row in the sweep that also finds work, so a fresh row means that the process
    lives, reaches the database and would notice work whose wake-up was lost.
    """

    help = "Exit with 1 unless a worker of this machine was seen lately."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print how many workers were seen."""
        patience = timedelta(seconds=max(settings.KHEISH.lease_seconds, 3 * settings.KHEISH.sweep_seconds))
        here = Worker.objects.filter(host=processes.host())
        seen = here.filter(heartbeat_at__gte=Now() - patience).count()  # beats are by the database's clock
        if not seen:
            raise CommandError(f"no worker of this machine was seen in the last {patience.seconds} s")
        self.stdout.write(f"{seen} seen")
