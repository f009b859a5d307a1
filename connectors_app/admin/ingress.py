"""What came in: receipts, bindings, refusals. For reading only."""

from typing import Any

from django.contrib import admin

from connectors_app.models import BindingKey, IngressReceipt, IngressRefusal
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin


@admin.register(IngressReceipt)
class IngressReceiptAdmin(ConsoleAdmin):
    """Accepted events."""

    plural, singular = "Accepted events", "Event"
    empty = "No event yet. Make a connector, then send it a test event."

    list_display = ("key", "connector", "session_link", "run_link", "duplicates", "accepted")
    list_filter = ("connector",)
    list_select_related = ("connector", "run", "session")
    search_fields = ("key__startswith",)
    search_help_text = "The beginning of an event's key"
    fields = (
        "key", "connector", "fingerprint", "session_link", "run_link", "duplicates", "last_repeat",
        "accepted",
    )  # fmt: skip
    accepted = show.age_of("accepted_at", "accepted")
    last_repeat = show.age_of("last_duplicate_at", "last repeat")
    run_link = show.link_to("run", "run_id", "run")
    session_link = show.link_to("session", "session_id", "session")


@admin.register(BindingKey)
class BindingKeyAdmin(ConsoleAdmin):
    """Which conversation belongs to which session."""

    plural, singular = "Binding keys", "Binding key"
    empty = "No conversation is bound yet; the first event of one binds it."

    list_display = ("name", "session_link", "connector", "born")
    list_select_related = ("connector", "session")
    search_fields = ("key__startswith",)
    search_help_text = "The beginning of a key"
    fields = ("name", "digest", "session_link", "connector", "born")
    born = show.age_of("created_at", "bound")
    name = show.line_of("key", "key")
    session_link = show.link_to("session", "session_id", "session")


@admin.register(IngressRefusal)
class IngressRefusalAdmin(ConsoleAdmin):
    """Events that were refused, counted by reason."""

    plural, singular = "Refused events", "Refusal"
    empty = "Nothing was refused."

    list_display = ("code", "connector", "count", "detail", "last")
    list_filter = ("connector",)
    list_select_related = ("connector",)
    fields = ("code", "connector", "count", "detail", "last")
    last = show.age_of("last_at", "last")

    def get_queryset(self, request: Any) -> Any:
        """Newest first."""
        return super().get_queryset(request).order_by("-last_at")
