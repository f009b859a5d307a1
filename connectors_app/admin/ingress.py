"""What came in, read-only: receipts, bindings, refusals."""

from typing import Any

from django.contrib import admin

from connectors_app.admin.shown import connector_link
from connectors_app.models import BindingKey, IngressReceipt, IngressRefusal
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin


@admin.register(IngressReceipt)
class IngressReceiptAdmin(ConsoleAdmin):
    """Accepted events."""

    plural, singular = "Accepted events", "Event"
    menu = "Connect"
    empty = "No event yet. Make a connector, then send it a test event."

    list_display = ("short_key", "connector_link", "session_link", "run_link", "duplicates", "accepted")
    connector_link = connector_link
    short_key = show.id_of("key", "key")
    list_filter = ("connector",)
    list_select_related = ("connector", "run", "session")
    search_fields = ("key__startswith",)
    search_help_text = "The beginning of an event's key"
    fields = (
        "key", "connector_link", "fingerprint", "session_link", "run_link", "duplicates", "last_repeat",
        "accepted",
    )  # fmt: skip
    accepted = show.age_of("accepted_at", "accepted")
    last_repeat = show.age_of("last_duplicate_at", "last repeat")
    run_link = show.link_to("run", "run_id", "run")
    session_link = show.link_to("session", "session_id", "session")


@admin.register(BindingKey)
class BindingKeyAdmin(ConsoleAdmin):
    """The conversations and the sessions they are bound to."""

    plural, singular = "Binding keys", "Binding key"
    empty = "No conversation is bound yet; the first event of one binds it."

    list_display = ("name_cell", "session_link", "connector_link", "born")
    connector_link = connector_link
    name_cell = show.cell_of("key", "key")
    list_select_related = ("connector", "session")
    search_fields = ("key__startswith",)
    search_help_text = "The beginning of a key"
    fields = ("name", "digest", "session_link", "connector_link", "born")
    born = show.age_of("created_at", "bound")
    name = show.line_of("key", "key")
    session_link = show.link_to("session", "session_id", "session")


@admin.register(IngressRefusal)
class IngressRefusalAdmin(ConsoleAdmin):
    """Events that were refused, counted by reason."""

    plural, singular = "Refused events", "Refusal"
    menu = "Connect"
    empty = "Nothing was refused. Events with a wrong signature or a shape nobody knows are counted here."

    list_display = ("code", "connector_link", "count", "detail_cell", "last")
    connector_link = connector_link
    detail_cell = show.cell_of("detail")
    list_filter = ("connector",)
    list_select_related = ("connector",)
    fields = ("code", "connector_link", "count", "detail", "last")
    last = show.age_of("last_at", "last")

    def get_queryset(self, request: Any) -> Any:
        """Newest first."""
        return super().get_queryset(request).order_by("-last_at")
