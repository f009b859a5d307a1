"""Django's entry to the connectors, and what they register on the core."""

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    """The connectors. The label keeps ``_app`` like its neighbours."""

    name = "connectors_app"
    verbose_name = "Connectors"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the kinds and the core's ports; imported here because models must be ready first."""
        from connectors_app.background import FileWatch, load_file
        from connectors_app.kinds.external import registration as external
        from connectors_app.kinds.http import registration as http
        from connectors_app.kinds.slack import registration as slack
        from connectors_app.kinds.telegram import registration as telegram
        from connectors_app.services import connectors, health, ingress, notices, resolution, search
        from connectors_app.services.deliveries import wiring
        from connectors_app.services.observations.keeper import Keeper
        from sessions_app.services import ports

        for kind in (external, http, slack, telegram):
            kind.register()
        ports.register_slot_users(connectors.users_of_slots)
        ports.register_background(FileWatch)
        ports.register_background(Keeper)
        ports.register_purge("receipts", ingress.purge, batch=ingress.BATCH)
        ports.on_prepare(load_file)
        ports.on_asked(notices.asked)
        ports.on_task_ended(notices.task_ended)
        ports.register_search(search.find)
        ports.register_status("connectors", health.status_part)
        ports.register_binder(resolution.bind_named)
        wiring.connect()
