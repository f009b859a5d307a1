"""App configuration."""

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    """Connectors of the runtime."""

    name = "connectors_app"
    verbose_name = "Connectors"
