"""The project glue as an app, so that its system checks run with every command."""

import logging
import threading

from django.apps import AppConfig
from django.conf import settings

from kheish_site.lib.redaction import register_environment, register_secret

logger = logging.getLogger(__name__)


class KheishSiteConfig(AppConfig):
    """Registers the configuration checks of :mod:`kheish_site.checks`."""

    name = "kheish_site"
    verbose_name = "Kheish"

    def ready(self) -> None:
        """Import the checks, which registers them, and teach the redaction funnel."""
        from kheish_site import checks  # noqa: F401  (app registry must be ready first)

        teach_redaction()
        if threading.excepthook is threading.__excepthook__:
            threading.excepthook = tell_of_a_dead_thread


def teach_redaction() -> None:
    """Every process knows the installation's own secrets before it writes its first line."""
    register_environment()
    register_secret("secret key", settings.SECRET_KEY)
    for key in settings.KHEISH.master_keys:
        register_secret("master key", key)
    register_secret("audit signing key", settings.KHEISH.audit_signing_key)


def tell_of_a_dead_thread(death: threading.ExceptHookArgs) -> None:
    """Log what ended a thread, masked like every line; Python would write it to stderr as it is."""
    if death.exc_type is SystemExit or death.exc_value is None:
        return
    raised = (death.exc_type, death.exc_value, death.exc_traceback)
    name = death.thread.name if death.thread is not None else ""
    logger.error("a thread died", exc_info=raised, extra={"action": "thread.died", "of": name})
