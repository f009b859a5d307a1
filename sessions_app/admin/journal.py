"""The journal and the checkpoints that stand for parts of it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions_app.admin import addresses, show, timeline
from sessions_app.admin.base import ConsoleAdmin, Section
from sessions_app.admin.filters import ByNoun
from sessions_app.models import Checkpoint, JournalEntry, Run, Session


@admin.register(JournalEntry)
class JournalAdmin(ConsoleAdmin):
    """What happened, in order, chained."""

    plural, singular = "Journal", "Journal entry"
    empty = "Nothing happened yet. The first session writes the first entry."
    empty_command = "python3 manage.py sessions create demo"

    list_display = ("place", "what", "session_link", "run_link", "when")
    list_filter = (ByNoun,)
    list_select_related = ("session",)
    search_fields = ("session__session_id__exact",)
    search_help_text = "A whole session id, or a whole run id"
    list_per_page = 100
    fieldsets = (
        (None, {"fields": ("session_link", "run_link", "kind", "version", "when", "payload_json")}),
        ("Chain", {"fields": ("seq", "digest", "prev_hash", "hash", "commit_order")}),
    )
    session_link = show.link_to("session", "session_id", "session")
    when = show.age_of("at", "when")
    payload_json = show.json_of("payload")

    def get_queryset(self, request: HttpRequest) -> QuerySet[JournalEntry]:
        """Add the public id of each entry's run, which is no relation of the table."""
        run = Run.objects.filter(pk=OuterRef("run_id")).values("run_id")[:1]
        return super().get_queryset(request).annotate(public_run=Subquery(run))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JournalEntry], search_term: str
    ) -> tuple[QuerySet[JournalEntry], bool]:
        """Find by the exact id of a session or a run, each an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        run = Run.objects.filter(run_id=term).values_list("pk", flat=True).first()
        if run is not None:
            return queryset.filter(run_id=run), False
        session = Session.objects.filter(session_id=term).values_list("pk", flat=True).first()
        return queryset.filter(session_id=session) if session is not None else queryset.none(), False

    @admin.display(description="seq")
    def place(self, row: JournalEntry) -> str:
        """Its number in its session."""
        return f"#{row.seq}"

    @admin.display(description="what happened")
    def what(self, row: JournalEntry) -> SafeString:
        """In words, with the payload a click away."""
        return timeline.told(row)

    @admin.display(description="run")
    def run_link(self, row: JournalEntry) -> SafeString | str:
        """The run it belongs to."""
        if row.run_id is None:
            return show.NOTHING
        run_id = row.public_run or ""  # type: ignore[attr-defined]
        return show.link_at(addresses.of_id("run", run_id), show.short(run_id))

    def title_of(self, row: JournalEntry) -> str:
        """Kind, number and session."""
        return f"{row.kind} #{row.seq} of {row.session.session_id}"

    def sections(self, row: JournalEntry) -> Sequence[Section]:
        """The entries before and after it."""
        near = JournalEntry.objects.filter(session=row.session_id, seq__range=(row.seq - 3, row.seq + 3))
        return (
            timeline.section(
                near, show.to_list(JournalEntry, "All of the session", session__id__exact=row.session_id)
            ),
        )


@admin.register(Checkpoint)
class CheckpointAdmin(ConsoleAdmin):
    """Summaries where folding may begin."""

    plural, singular = "Checkpoints", "Checkpoint"
    empty = "No conversation was long enough yet to be summarised for the model."

    list_display = ("name", "session_link", "trigger", "tokens", "made")
    list_filter = ("trigger",)
    list_select_related = ("session",)
    search_fields = ("session__session_id__startswith",)
    search_help_text = "The beginning of a session's name"
    fields = ("session_link", "through_seq", "trigger", "tokens", "made", "summary_text", "restoration_json")
    session_link = show.link_to("session", "session_id", "session")
    made = show.age_of("created_at", "made")
    summary_text = show.text_of("summary")
    restoration_json = show.json_of("restoration")

    @admin.display(description="checkpoint")
    def name(self, row: Checkpoint) -> str:
        """Where it ends."""
        return f"through #{row.through_seq}"

    @admin.display(description="tokens")
    def tokens(self, row: Checkpoint) -> Any:
        """Before and after."""
        return format_html("{} → {}", f"{row.tokens_before:,}", f"{row.tokens_after:,}")

    def title_of(self, row: Checkpoint) -> str:
        """Session and place."""
        return f"Checkpoint of {row.session.session_id} through #{row.through_seq}"
