"""The project glue as an app, so that its system checks run with every command."""

from django.apps import AppConfig


class KheishSiteConfig(AppConfig):
    """Registers the configuration checks of :mod:`kheish_site.checks`."""

    name = "kheish_site"
    verbose_name = "Kheish"

    def ready(self) -> None:
        """Import the checks: importing them registers them."""
        from kheish_site import checks  # noqa: F401  (app registry must be ready first)
