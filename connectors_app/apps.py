"""Django's entry to the connectors, and what they hang into the core."""

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    """Many ways in and out. The label keeps ``_app`` like its neighbours."""

    name = "connectors_app"
    verbose_name = "Connectors"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the kinds and the core's ports; imported here because models must be ready first."""
        from connectors_app.kinds.external import registration as external
        from connectors_app.kinds.http.kind import HttpKind
        from connectors_app.services import connectors, connectors_file, registry
        from sessions_app.services import ports

        registry.register_kind(HttpKind())
        external.register()
        ports.register_slot_users(connectors.users_of_slots)
        ports.on_prepare(connectors_file.reload)
