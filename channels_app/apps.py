"""App configuration."""

from django.apps import AppConfig


class ChannelsConfig(AppConfig):
    """Channels of the runtime."""

    name = "channels_app"
    verbose_name = "Channels"
