"""Operator decisions: effects of unknown outcome that a person must judge."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.filters import ByStatus
from sessions_app.admin.forms import TextArea
from sessions_app.admin.verbs import Act, Cleaned, Outcome, Tone, Verb
from sessions_app.models import DecisionOutcome, DecisionStatus, OperatorDecision
from sessions_app.services import decisions
from sessions_app.services.decisions import Judgement
from sessions_app.services.principal import Principal
from sessions_app.services.projections.shape import call_summary


class NoteForm(forms.Form):
    """The form of any judgement: how the person knows."""

    note = TextArea(
        rows=2,
        required=False,
        max_length=2_000,
        help_text="How you know. Kept in the journal.",
    )


class HappenedForm(NoteForm):
    """The form of "it happened": what the agent should read as the result."""

    result = TextArea(
        rows=3,
        required=False,
        max_length=20_000,
        help_text="What the agent reads as the result; left empty, what the call had written until then.",
    )


def _judging(outcome: DecisionOutcome) -> Act:
    def act(row: OperatorDecision, cleaned: Cleaned, principal: Principal) -> Outcome | None:
        judgement = Judgement(outcome=outcome, note=cleaned["note"], result=cleaned.get("result", ""))
        decisions.resolve(row.decision_id, judgement, principal=principal)
        return None

    return act


def _pending(row: OperatorDecision) -> bool:
    return row.status == DecisionStatus.PENDING


def _verb(
    outcome: DecisionOutcome, label: str, past: str, explain: str, *, form: type[forms.Form], tone: Tone = ""
) -> Verb:
    return Verb(
        name=outcome.value,
        label=label,
        past=past,
        act=_judging(outcome),
        form=form,
        applies=_pending,
        tone=tone,
        explain=explain,
    )


VERBS = (
    _verb(
        DecisionOutcome.HAPPENED,
        "It happened",
        "settled as happened",
        "The effect took place. It is not repeated, and the agent goes on with the result.",
        form=HappenedForm,
        tone="good",
    ),
    _verb(
        DecisionOutcome.NOT_HAPPENED,
        "It did not, run it",
        "sent to run again",
        "The effect did not take place. The call runs now, exactly as it was.",
        form=NoteForm,
    ),
    _verb(
        DecisionOutcome.TELL_AGENT,
        "Tell the agent",
        "handed to the agent",
        "The agent reads that the outcome is unknown, with what was written until then, and decides itself.",
        form=NoteForm,
    ),
    _verb(
        DecisionOutcome.GIVE_UP,
        "Give up",
        "given up",
        "The run ends as failed. Its history stays.",
        form=NoteForm,
        tone="danger",
    ),
)


@admin.register(OperatorDecision)
class DecisionAdmin(ConsoleAdmin):
    """Effects in doubt."""

    plural, singular, public_id = "Decisions", "Decision", "decision_id"
    empty = (
        "No effect is in doubt. A decision appears here when a worker died between starting a call and "
        "knowing its result."
    )
    verbs = VERBS

    list_display = ("shown_id", "shown_status", "call", "session_link", "run_link", "asked", "shown_outcome")
    list_filter = ("status", ("outcome", ByStatus))
    list_select_related = ("session", "run", "tool_call")
    search_fields = ("decision_id__exact", "run__run_id__exact", "session__session_id__startswith")
    search_help_text = "A decision or run id, or the beginning of a session's name"
    fieldsets = (
        ("Did this happen?", {"fields": ("tool", "exact_input", "started", "partial")}),
        ("Where", {"fields": ("session_link", "run_link", "call_link", "asked")}),
        ("Judgement", {"fields": ("shown_outcome", "said", "told", "resolved_by", "resolved")}),
    )
    shown_id = show.id_of("decision_id", "decision")
    shown_status = show.status_of()
    session_link = show.link_to("session", "session_id", "session")
    run_link = show.link_to("run", "run_id", "run")
    call_link = show.link_to("tool_call", "call_id", "tool call")
    asked = show.age_of("created_at", "asked")
    resolved = show.age_of("resolved_at", "resolved")
    partial = show.text_of("partial_output", "written until then")
    said = show.line_of("note")
    told = show.text_of("result")

    @admin.display(description="what")
    def call(self, row: OperatorDecision) -> SafeString:
        """The call in one redacted line."""
        summary = call_summary(row.tool_call.tool_name, row.tool_call.arguments)
        return format_html('<span class="kh-line">{}</span>', summary)

    @admin.display(description="outcome")
    def shown_outcome(self, row: OperatorDecision) -> str:
        """What the person said."""
        return row.get_outcome_display() or show.NOTHING

    @admin.display(description="tool")
    def tool(self, row: OperatorDecision) -> str:
        """The tool's name."""
        return row.tool_call.tool_name

    @admin.display(description="arguments")
    def exact_input(self, row: OperatorDecision) -> SafeString | str:
        """The whole call."""
        return show.json_block(row.tool_call.arguments, limit=None)

    @admin.display(description="started")
    def started(self, row: OperatorDecision) -> SafeString | str:
        """When the call left the process."""
        return show.age(row.tool_call.started_at)

    def status_line(self, row: OperatorDecision) -> Sequence[Any]:
        """Status and age."""
        return (show.badge(row.status), format_html("asked {}", show.age(row.created_at)))

    def facts(self, row: OperatorDecision) -> Sequence[tuple[str, Any]]:
        """The whole call and what it had written."""
        return (
            ("Decision", show.link(row, show.short(row.decision_id))),
            ("Status", show.badge(row.status)),
            ("Session", show.link(row.session, row.session.session_id)),
            ("Did this happen?", format_html("{} {}", row.tool_call.tool_name, self.exact_input(row))),
            ("Written until then", show.block(row.partial_output)),
        )
