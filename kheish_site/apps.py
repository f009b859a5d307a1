"""The project glue as an app, so that its system checks run with every command."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class KheishSiteConfig(AppConfig):
    """Registers the configuration checks of :mod:`kheish_site.checks`."""

    name = "kheish_site"
    verbose_name = "Kheish"

    def ready(self) -> None:
        """Import the checks, which registers them, and the Celery application where a broker is used.

        Whoever publishes a wake-up uses the current application; without this one it would be
        Celery's default, which knows another broker. The embedded web process is spared the import.
        """
        from kheish_site import checks  # noqa: F401  (app registry must be ready first)

        if settings.KHEISH.redis_url:
            import_module("kheish_site.celery")
