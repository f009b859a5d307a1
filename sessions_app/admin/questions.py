"""Questions agents ask people: answered as a whole, or declined."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from kheish_site.lib.redaction import redact
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.forms import TextArea
from sessions_app.admin.verbs import Cleaned, ReasonForm, Verb
from sessions_app.models import QuestionStatus, UserQuestion
from sessions_app.services import questions
from sessions_app.services.principal import Principal
from sessions_app.services.questions import Resolution


def _answer_form(row: UserQuestion | None) -> type[forms.Form]:
    """Return a form with a choice and a free answer for each of the row's questions."""
    members: dict[str, Any] = {}
    for number, item in enumerate(row.questions if row is not None else []):
        choices = [(option["id"], _option_words(option)) for option in item["options"]]
        field, widget = (
            (forms.MultipleChoiceField, forms.CheckboxSelectMultiple)
            if item["multi_select"]
            else (forms.ChoiceField, forms.RadioSelect)
        )
        label = f"{item['header']}: {item['question']}" if item["header"] else item["question"]
        members[f"choice_{number}"] = field(
            choices=choices,
            widget=widget,
            required=False,
            label=redact(label),
            help_text=_previews(item["options"]),
        )
        members[f"text_{number}"] = TextArea(
            rows=2, required=False, max_length=20_000, label="or in your own words"
        )
    return type("AnswerForm", (ReasonForm,), members | {"field_order": list(members)})


def _option_words(option: dict[str, Any]) -> str:
    words = f"{option['label']} ({option['description']})" if option["description"] else option["label"]
    return str(redact(words))


def _previews(options: list[dict[str, Any]]) -> SafeString:
    """Return what the options look like, each under its label; nothing where none says."""
    shown = ((str(redact(o["label"])), show.block(o["preview"])) for o in options if o.get("preview"))
    return format_html_join("", '<div class="kh-preview">{} looks like this:{}</div>', shown)


def _answer(row: UserQuestion, cleaned: Cleaned, principal: Principal) -> None:
    answers = [
        {
            "question_id": item["id"],
            "selected_option_ids": _chosen(cleaned[f"choice_{number}"]),
            "freeform_answer": cleaned[f"text_{number}"],
        }
        for number, item in enumerate(row.questions)
    ]
    resolution = Resolution(answers=answers, justification=cleaned["reason"])
    questions.resolve(row.question_id, resolution, principal=principal)


def _chosen(value: Any) -> list[str]:
    if isinstance(value, list):
        return value
    return [value] if value else []


def _decline(row: UserQuestion, cleaned: Cleaned, principal: Principal) -> None:
    resolution = Resolution(declined=True, justification=cleaned["reason"])
    questions.resolve(row.question_id, resolution, principal=principal)


def _dismiss(row: UserQuestion, cleaned: Cleaned, principal: Principal) -> None:
    questions.cancel(row.question_id, principal=principal, justification=cleaned["reason"])


def _pending(row: UserQuestion) -> bool:
    return row.status == QuestionStatus.PENDING


ANSWER = Verb(
    name="answer",
    label="Answer",
    past="answered",
    act=_answer,
    form_for=_answer_form,
    applies=_pending,
    many=False,
    tone="good",
    explain="Choose, or write your own words. The agent goes on with all answers together.",
)
DECLINE = Verb(
    name="decline",
    label="Decline",
    past="declined",
    act=_decline,
    form=ReasonForm,
    applies=_pending,
    explain="The agent is told that nobody wants to answer, with your reason, and goes on.",
)
DISMISS = Verb(
    name="dismiss",
    label="Cancel the run instead",
    past="cancelled",
    act=_dismiss,
    form=ReasonForm,
    applies=_pending,
    many=False,
    tone="danger",
    explain="Nobody will answer: the run that asked is cancelled.",
)


@admin.register(UserQuestion)
class QuestionAdmin(ConsoleAdmin):
    """What agents asked."""

    plural, singular, public_id = "Questions", "Question", "question_id"
    empty = "No agent has asked anything yet. Questions appear here by themselves when one does."
    verbs = (ANSWER, DECLINE, DISMISS)

    list_display = ("shown_id", "shown_status", "asks", "session_link", "run_link", "asked", "expires")
    list_filter = ("status",)
    list_select_related = ("session", "run")
    search_fields = ("question_id__exact", "run__run_id__exact", "session__session_id__startswith")
    search_help_text = "A question or run id, or the beginning of a session's name"
    fieldsets = (
        (
            "Asked",
            {"fields": ("questions_list", "session_link", "run_link", "call_link", "asked", "expires")},
        ),
        ("Answered", {"fields": ("answers_json", "why", "resolved_by", "resolved")}),
    )
    shown_id = show.id_of("question_id", "question")
    shown_status = show.status_of()
    session_link = show.link_to("session", "session_id", "session")
    run_link = show.link_to("run", "run_id", "run")
    call_link = show.link_to("tool_call", "call_id", "tool call")
    asked = show.age_of("created_at", "asked")
    expires = show.age_of("expires_at", "expires")
    resolved = show.age_of("resolved_at", "resolved")
    answers_json = show.json_of("answers")
    why = show.line_of("justification")

    @admin.display(description="asks")
    def asks(self, row: UserQuestion) -> SafeString:
        """All questions on one line."""
        words = " / ".join(str(item.get("question", "")) for item in row.questions)
        return format_html('<span class="kh-line">{}</span>', redact(words))

    @admin.display(description="questions")
    def questions_list(self, row: UserQuestion) -> SafeString | str:
        """The questions with their options."""
        lines = []
        for item in row.questions:
            lines.append(f"{item['question']}{' (several may be chosen)' if item['multi_select'] else ''}")
            for option in item["options"]:
                lines.append(f"  - {_option_words(option)}")
                lines += [f"      {line}" for line in option.get("preview", "").split("\n") if line]
        return show.block("\n".join(lines))

    def status_line(self, row: UserQuestion) -> Sequence[Any]:
        """Status and age."""
        return (show.badge(row.status), format_html("asked {}", show.age(row.created_at)))

    def facts(self, row: UserQuestion) -> Sequence[tuple[str, Any]]:
        """What is asked, and where."""
        return (
            ("Question", show.link(row, show.short(row.question_id))),
            ("Status", show.badge(row.status)),
            ("Session", show.link(row.session, row.session.session_id)),
            ("Asks", self.asks(row)),
        )
