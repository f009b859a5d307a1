"""Django's entry to the core app."""

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """The durable runtime. The label keeps ``_app``: ``sessions`` belongs to Django."""

    name = "sessions_app"
    verbose_name = "Sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Mark every login of a browser; imported here because models must be ready first."""
        from django.contrib.auth.signals import user_logged_in

        from sessions_app.services import logins

        user_logged_in.connect(logins.begin_signed_in, dispatch_uid="kheish_login")
