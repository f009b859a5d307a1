"""Django's entry to the core app."""

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """The durable runtime. The label keeps ``_app``: ``sessions`` belongs to Django."""

    name = "sessions_app"
    verbose_name = "Sessions"
    default_auto_field = "django.db.models.BigAutoField"
