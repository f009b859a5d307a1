"""The project glue as an app, so that its system checks run with every command."""

from django.apps import AppConfig
from django.conf import settings

from kheish_site.lib.redaction import register_environment, register_secret


class KheishSiteConfig(AppConfig):
    """Registers the configuration checks of :mod:`kheish_site.checks`."""

    name = "kheish_site"
    verbose_name = "Kheish"

    def ready(self) -> None:
        """Import the checks, which registers them, and teach the redaction funnel."""
        from kheish_site import checks  # noqa: F401  (app registry must be ready first)

        teach_redaction()


def teach_redaction() -> None:
    """Every process knows the installation's own secrets before it writes its first line."""
    register_environment()
    register_secret("secret key", settings.SECRET_KEY)
    for key in settings.KHEISH.master_keys:
        register_secret("master key", key)
    register_secret("audit signing key", settings.KHEISH.audit_signing_key)
