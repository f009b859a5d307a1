"""The rows of single kinds, read-only: sidecars and their leases, Telegram's offsets and acknowledgements."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin

from connectors_app.admin.shown import connector_link
from connectors_app.models import ConnectorLease, SidecarState, TelegramAcknowledgement, TelegramOffset
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin


@admin.register(SidecarState)
class SidecarStateAdmin(ConsoleAdmin):
    """Sidecars."""

    plural, singular, menu = "Sidecars", "Sidecar", "Connect"
    empty = "No sidecar was seen yet. Make a connector of the kind external."

    list_display = ("connector_link", "state", "instance_id", "restarts", "error_cell", "changed")
    list_display_links = ("state",)
    list_filter = ("status",)
    list_select_related = ("connector",)
    fields = (
        "connector_link", "state", "instance_id", "manifest_json", "last_error", "restarts", "worker", "pid",
        "changed",
    )  # fmt: skip
    connector_link = connector_link
    error_cell = show.cell_of("last_error", "last error")
    state = show.status_of()
    changed = show.age_of("since", "since")
    manifest_json = show.json_of("manifest")

    def title_of(self, row: SidecarState) -> str:
        """Whose it is."""
        return f"Sidecar of {row.connector}"

    def status_line(self, row: SidecarState) -> Sequence[Any]:
        """Its state, and since when."""
        return (self.state(row), show.age(row.since))


@admin.register(ConnectorLease)
class ConnectorLeaseAdmin(ConsoleAdmin):
    """The credential leases, without their tokens."""

    plural, singular, public_id = "Credential leases", "Credential lease", "lease_id"
    empty = "No child process holds credentials."

    list_display = ("short_id", "connector_link", "issued", "expires", "revoked")
    list_filter = ("connector",)
    list_select_related = ("connector",)
    fields = ("lease_id", "grant_id", "connector_link", "slots_json", "issued", "expires", "revoked")
    connector_link = connector_link
    short_id = show.id_of("lease_id", "lease")
    issued = show.age_of("issued_at", "issued")
    expires = show.age_of("expires_at", "expires")
    revoked = show.age_of("revoked_at", "revoked")
    slots_json = show.json_of("slots")


@admin.register(TelegramOffset)
class TelegramOffsetAdmin(ConsoleAdmin):
    """The offsets at which polling goes on."""

    plural, singular = "Telegram polling", "Telegram offset"
    empty = "No Telegram connector polls."

    list_display = ("bot_id", "connector_link", "next_update_id", "saved")
    list_select_related = ("connector",)
    fields = ("connector_link", "bot_id", "next_update_id", "saved")
    connector_link = connector_link
    saved = show.age_of("saved_at", "saved")

    def title_of(self, row: TelegramOffset) -> str:
        """Whose it is."""
        return f"Telegram polling of {row.connector}"


@admin.register(TelegramAcknowledgement)
class TelegramAcknowledgementAdmin(ConsoleAdmin):
    """The button presses that were acknowledged."""

    plural, singular = "Telegram presses", "Telegram press"
    empty = "No button was pressed lately."

    list_display = ("query_id", "connector_link", "acknowledged")
    list_select_related = ("connector",)
    fields = ("query_id", "connector_link", "acknowledged")
    connector_link = connector_link
    acknowledged = show.age_of("acknowledged_at", "answered")
