"""The audit log: who changed what outside sessions, from where and why. For administrators."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin

from sessions_app.admin import addresses, show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.models import AuditEntry, Role


@admin.register(AuditEntry)
class AuditEntryAdmin(ConsoleAdmin):
    """The entries of the audit log."""

    view_role = Role.ADMIN  # entries show who did what, and from where
    plural, singular, public_id = "Audit log", "Audit entry", "entry_id"
    empty = "Nothing was changed yet. Changes of configuration, credentials and people appear here."
    empty_command = "python3 manage.py audit log"

    list_display = ("when", "principal", "action", "what", "remote_addr", "said")
    list_filter = ("object_kind", "auth_method")
    search_fields = ("principal__exact", "object_id__exact", "action__exact", "entry_id__exact")
    search_help_text = "A name, an object's id, or an action such as persona.updated"
    fields = (
        "entry_id", "when", "action", "what", "before_json", "after_json", "said", "principal", "role",
        "auth_method", "remote_addr", "request_id",
    )  # fmt: skip
    when = show.age_of("at", "when")
    before_json = show.json_of("before")
    after_json = show.json_of("after")
    said = show.line_of("reason", "why")

    @admin.display(description="what")
    def what(self, row: AuditEntry) -> Any:
        """The object, linked to its page where it has one."""
        return show.link_at(
            addresses.of_id(row.object_kind, row.object_id), f"{row.object_kind} {row.object_id}"
        )

    def status_line(self, row: AuditEntry) -> Sequence[Any]:
        """Its author and time."""
        return (row.principal, show.age(row.at))
