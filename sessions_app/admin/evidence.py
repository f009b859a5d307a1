"""The ledger of external actions: signed records and the heads of their chains."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.models import ActionChain, ExternalAction, Run, Session, ToolCall

COLUMNS = ("Record", "Phase", "Target", "Outcome", "Allowed by", "When")


def section(rows: Any, more: Any = "") -> Section:
    """Return the newest records as a table."""
    return Section(
        title="External actions",
        columns=COLUMNS,
        rows=[
            (
                show.link(row, f"#{row.seq}"),
                show.badge(row.phase),
                row.target,
                row.outcome or show.NOTHING,
                row.grant_id or show.NOTHING,
                show.age(row.at),
            )
            for row in latest(rows)
        ],
        more=more,
    )


@admin.register(ExternalAction)
class ExternalActionAdmin(ConsoleAdmin):
    """What left the process, by whose word."""

    plural, singular = "External actions", "External action"
    empty = "Nothing has left the service yet: no tool has acted outside and nothing was delivered."

    list_display = ("place", "shown_phase", "kind", "target", "outcome", "principal_id", "grant_id", "when")
    list_filter = ("phase", "kind")
    search_fields = (
        "bucket__exact", "run_id__exact", "tool_call_id__exact", "delivery_id__exact", "record_hash__exact",
    )  # fmt: skip
    search_help_text = "A whole id of a session, run, call or delivery, or a record's hash"
    fieldsets = (
        (
            "What",
            {
                "fields": (
                    "kind",
                    "shown_phase",
                    "target",
                    "outcome",
                    "when",
                    "request_digest",
                    "response_digest",
                )
            },
        ),
        ("By whose word", {"fields": ("principal_id", "grant_id")}),
        ("Belongs to", {"fields": ("session_link", "run_link", "call_link", "delivery_id")}),
        (
            "Chain",
            {"fields": ("bucket", "seq", "prev_hash", "record_hash", "signature_alg", "key_id", "signature")},
        ),
    )
    shown_phase = show.status_of("phase", "phase")
    when = show.age_of("at", "when")

    @admin.display(description="record")
    def place(self, row: ExternalAction) -> SafeString:
        """Its chain, and its place there."""
        return format_html("{} #{}", show.short(row.bucket), row.seq)

    @admin.display(description="session")
    def session_link(self, row: ExternalAction) -> SafeString | str:
        """The session, while it exists."""
        found = Session.objects.filter(session_id=row.session_id).first()
        return show.link(found, row.session_id) if found else row.session_id or show.NOTHING

    @admin.display(description="run")
    def run_link(self, row: ExternalAction) -> SafeString | str:
        """The run, while it exists."""
        found = Run.objects.filter(run_id=row.run_id).first()
        return show.link(found, row.run_id) if found else row.run_id or show.NOTHING

    @admin.display(description="tool call")
    def call_link(self, row: ExternalAction) -> SafeString | str:
        """The call, while it exists."""
        found = ToolCall.objects.filter(call_id=row.tool_call_id).first()
        return show.link(found, row.tool_call_id) if found else row.tool_call_id or show.NOTHING

    def title_of(self, row: ExternalAction) -> str:
        """Kind, place and chain."""
        return f"External action #{row.seq} of {row.bucket}"

    def sections(self, row: ExternalAction) -> Sequence[Section]:
        """The records before and after it."""
        near = ExternalAction.objects.filter(bucket=row.bucket, seq__range=(row.seq - 3, row.seq + 3))
        return (section(near, all_of(ExternalAction, q=row.bucket)),)


@admin.register(ActionChain)
class ActionChainAdmin(ConsoleAdmin):
    """Where each chain ends."""

    plural, singular, public_id = "Audit chains", "Audit chain", "bucket"
    empty = "No record was signed yet: the first external action begins a chain."

    list_display = ("bucket", "count", "when", "signed_by")
    search_fields = ("bucket__exact",)
    search_help_text = "A whole session id, or unscoped"
    fields = ("bucket", "count", "head", "when", "key_id", "signature")
    when = show.age_of("at", "last record")
    signed_by = show.id_of("key_id", "signed by")

    def sections(self, row: ActionChain) -> Sequence[Section]:
        """Its newest records."""
        rows = ExternalAction.objects.filter(bucket=row.bucket)
        return (section(rows, all_of(ExternalAction, q=row.bucket)),)
