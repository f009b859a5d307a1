"""What single kinds keep: sidecars and their leases, where Telegram's polling stands. For reading only."""

from django.contrib import admin

from connectors_app.models import ConnectorLease, SidecarState, TelegramAcknowledgement, TelegramOffset
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin


@admin.register(SidecarState)
class SidecarStateAdmin(ConsoleAdmin):
    """Sidecars."""

    plural, singular = "Sidecars", "Sidecar"
    empty = "No sidecar was seen yet. Make a connector of the kind external."

    list_display = ("connector", "state", "instance_id", "restarts", "last_error", "changed")
    list_filter = ("status",)
    list_select_related = ("connector",)
    fields = (
        "connector", "state", "instance_id", "manifest_json", "last_error", "restarts", "worker", "pid",
        "changed",
    )  # fmt: skip
    state = show.status_of()
    changed = show.age_of("since", "since")
    manifest_json = show.json_of("manifest")


@admin.register(ConnectorLease)
class ConnectorLeaseAdmin(ConsoleAdmin):
    """Leases of credentials, without their tokens."""

    plural, singular, public_id = "Credential leases", "Credential lease", "lease_id"
    empty = "No child process holds credentials."

    list_display = ("lease_id", "connector", "issued", "expires", "revoked")
    list_filter = ("connector",)
    list_select_related = ("connector",)
    fields = ("lease_id", "grant_id", "connector", "slots_json", "issued", "expires", "revoked")
    issued = show.age_of("issued_at", "issued")
    expires = show.age_of("expires_at", "expires")
    revoked = show.age_of("revoked_at", "revoked")
    slots_json = show.json_of("slots")


@admin.register(TelegramOffset)
class TelegramOffsetAdmin(ConsoleAdmin):
    """Where polling goes on."""

    plural, singular = "Telegram polling", "Telegram offset"
    empty = "No Telegram connector polls."

    list_display = ("connector", "bot_id", "next_update_id", "saved")
    list_select_related = ("connector",)
    fields = ("connector", "bot_id", "next_update_id", "saved")
    saved = show.age_of("saved_at", "saved")


@admin.register(TelegramAcknowledgement)
class TelegramAcknowledgementAdmin(ConsoleAdmin):
    """Pressed buttons that were answered."""

    plural, singular = "Telegram presses", "Telegram press"
    empty = "No button was pressed lately."

    list_display = ("query_id", "connector", "acknowledged")
    list_select_related = ("connector",)
    fields = ("query_id", "connector", "acknowledged")
    acknowledged = show.age_of("acknowledged_at", "answered")
