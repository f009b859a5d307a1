"""Runs and their steps, in the order of evidence: the run, what it waits for, its calls, its journal."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from sessions_app.admin import evidence, run_page, show
from sessions_app.admin.base import ConsoleAdmin, Section, StatusTab, all_of, latest
from sessions_app.admin.filters import ByLiveness, ByPersona, ByRoute, ByStatus
from sessions_app.admin.forms import TextArea, unmasked
from sessions_app.admin.verbs import Cleaned, NothingToSay, Outcome, ReasonForm, Verb
from sessions_app.models import (
    LIVE,
    WAITING,
    Approval,
    Asset,
    ExternalAction,
    OperatorDecision,
    Run,
    RunStatus,
    ShellTask,
    Step,
    ToolCall,
    UserQuestion,
)
from sessions_app.services import runs
from sessions_app.services.inputs import LARGEST_TEXT
from sessions_app.services.principal import Principal
from sessions_app.services.projections.shape import call_summary


def _cancel(row: Run, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    after = runs.cancel(row.run_id, principal=principal.name, reason=cleaned["reason"])
    return Outcome(word="asked to stop") if after.status in LIVE else None


COUNTED_IN_TABS = 1_000
"""Runs that a tab counts before it says "and more"."""

EFFECTS = 25
"""Effects on the page of a run."""

CANCEL = Verb(
    name="cancel",
    label="Cancel",
    past="cancelled",
    act=_cancel,
    form=ReasonForm,
    applies=lambda row: row.status in LIVE,
    tone="danger",
    explain="A running run stops at its next step; a waiting or queued one at once. Its history stays.",
)


class AgainForm(forms.Form):
    """The input of the new run."""

    content = TextArea(
        rows=6,
        max_length=LARGEST_TEXT,
        help_text="A new run of the same session and route gets this. The old one keeps its history.",
    )


def _again(row: Run, cleaned: Cleaned, principal: Principal) -> Outcome:
    was = str(row.input_message.get("content", ""))
    content = unmasked(cleaned, {"content": was})["content"] if "content" in cleaned else was
    if content == was and any(item["type"] != "text" for item in row.input_items):
        content = ""  # as it was, with its files
    return Outcome(row=runs.retry(row.run_id, content=content, principal=principal.name))


AGAIN = Verb(
    name="again",
    label="Run again",
    past="asked again",
    act=_again,
    keyed=True,
    form_for=lambda row: NothingToSay if row is None else AgainForm,
    initial=lambda row: {"content": show.redact(str(row.input_message.get("content", "")))},
    applies=lambda row: runs.may_retry(row) and row.session.ended_at is None,
    explain="Submits the input once more. The new run answers where the session's runs answer now.",
)


@admin.register(Run)
class RunAdmin(ConsoleAdmin):
    """Executions."""

    page_template = run_page.TEMPLATE
    plural, singular, public_id = "Runs", "Run", "run_id"
    empty = "No run yet. Give a session work:"
    empty_command = 'python3 manage.py sessions input demo "Say hello" --follow'
    verbs = (CANCEL, AGAIN)
    live = True

    list_display = (
        "shown_id",
        "shown_status",
        "session_link",
        "asked_for",
        "route",
        "tokens",
        "took",
        "submitted",
    )
    list_filter = (ByLiveness, ("status", ByStatus), ByRoute, ByPersona)
    list_select_related = ("session",)
    search_fields = ("run_id__exact", "session__session_id__startswith")
    search_help_text = "A run id, or the beginning of a session's name"
    shown_id = show.id_of("run_id", "run")
    shown_status = show.status_of()
    session_link = show.link_to("session", "session_id", "session")
    submitted = show.age_of("submitted_at", "submitted")
    fallbacks_json: Any = show.json_of("fallbacks")
    generation_json: Any = show.json_of("generation")
    metadata_json: Any = show.json_of("metadata")
    targets_json: Any = show.targets_of()

    @admin.display(description="input")
    def asked_for(self, row: Run) -> SafeString:
        """The input on one line."""
        return format_html('<span class="kh-line">{}</span>', show.redact(runs.text_preview(row)))

    @admin.display(description="route")
    def route(self, row: Run) -> SafeString:
        """The route it is pinned to; the page of the run has the model too."""
        return show.line(row.route_id)

    @admin.display(description="tokens")
    def tokens(self, row: Run) -> str:
        """Tokens in and out."""
        return f"{row.input_tokens:,} → {row.output_tokens:,}"

    @admin.display(description="took")
    def took(self, row: Run) -> str:
        """From submission to its end, or until now."""
        return show.lasted(row.submitted_at, row.finished_at)

    def facts(self, row: Run) -> Sequence[tuple[str, Any]]:
        """Which run a verb is about."""
        return (
            ("Run", show.link(row, row.run_id)),
            ("Status", show.badge(row.status)),
            ("Session", show.link(row.session, row.session.session_id)),
            ("Input", self.asked_for(row)),
        )

    def sections(self, row: Run) -> Sequence[Section]:
        """What it waits for, what it did, what is written down."""
        actions = ExternalAction.objects.filter(run_id=row.run_id)
        return (
            _waits(row),
            _calls(row),
            _tasks(row),
            evidence.section(actions, all_of(ExternalAction, q=row.run_id)),
            _steps(row),
        )

    def status_tabs(self, request: HttpRequest) -> Sequence[StatusTab]:
        """By status, with counts; what ends is counted no further than is useful."""
        rows = Run.objects.order_by()
        live = dict(rows.filter(status__in=sorted(LIVE)).values_list("status").annotate(number=Count("pk")))
        waits = sum(number for status, number in live.items() if status in WAITING)
        tabs: list[tuple[str, str, Any]] = [
            ("All", "", None),
            ("Running", "status__exact=running", live.get(RunStatus.RUNNING, 0)),
            ("Waiting", "needs=waiting", waits),
            ("Queued", "status__exact=queued", live.get(RunStatus.QUEUED, 0)),
            *(
                (str(status.label), f"status__exact={status}", _up_to(rows.filter(status=status)))
                for status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
            ),
        ]
        asked = request.GET.urlencode()
        return [
            StatusTab(name=name, url=f"?{query}", current=asked == query, number=number)
            for name, query, number in tabs
        ]

    def page_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template of the page needs."""
        return {
            "title": f"{row.session.session_id} / {row.run_id}",
            **self.verbs_of(request, row),
            **run_page.context(request, row),
            "console_output": show.block("\n\n".join(filter(None, (_said(output) for output in row.outputs))))
            if row.outputs
            else "",
            "console_files": _sent_files(row),
            "console_pinned": [(name, shown) for name, shown in self._pinned(row) if shown != show.NOTHING],
            "console_sections": self.sections(row),
        }

    def _pinned(self, row: Run) -> Sequence[tuple[str, Any]]:
        """Return what the run may not see change later."""
        return (
            ("Fallbacks", self.fallbacks_json(row)),
            ("Generation", self.generation_json(row)),
            ("Metadata", self.metadata_json(row)),
            ("Reply targets", self.targets_json(row)),
        )


def _up_to(rows: Any) -> int | str:
    number = rows[: COUNTED_IN_TABS + 1].count()
    return f"{COUNTED_IN_TABS}+" if number > COUNTED_IN_TABS else number


def _said(output: Mapping[str, Any]) -> str:
    """Return everything an output says, its parts too."""
    parts = (str(part.get("text", "")) for part in output.get("parts", ()))
    return "\n".join(filter(None, (str(output.get("content", "")), *parts)))


def _sent_files(row: Run) -> SafeString | str:
    """Return the files of a run's outputs, each with a link to its page."""
    files = {file["asset_id"]: file for output in row.outputs for file in output.get("files", ())}
    if not files:
        return ""
    stored = {asset.asset_id: asset for asset in Asset.objects.filter(asset_id__in=files)}
    lines = [
        (
            show.link(stored.get(asset_id), show.redact(file["file_name"])),
            file["media_type"],
            f"{file['size_bytes']:,} bytes",
        )
        for asset_id, file in files.items()
    ]
    return format_html_join(mark_safe("<br>"), "{}, {}, {}", lines)


def _waits(row: Run) -> Section:
    asked: list[tuple[Any, ...]] = [
        ("approval", show.link(item, show.short(item.approval_id)), show.badge(item.status), item.tool_name)
        for item in latest(Approval.objects.filter(run=row))
    ]
    asked += [
        ("question", show.link(item, show.short(item.question_id)), show.badge(item.status), "")
        for item in latest(UserQuestion.objects.filter(run=row))
    ]
    asked += [
        ("decision", show.link(item, show.short(item.decision_id)), show.badge(item.status), item.outcome)
        for item in latest(OperatorDecision.objects.filter(run=row))
    ]
    more = all_of(Approval, run__id__exact=row.pk)
    return Section(title="Asked of people", columns=("what", "id", "status", "about"), rows=asked, more=more)


def _calls(row: Run) -> Section:
    """Return the newest effects; one of unknown outcome leads to where a person says what happened."""
    rows = latest(ToolCall.objects.filter(run=row), EFFECTS)
    asked = dict(
        OperatorDecision.objects.filter(run=row, status="pending").values_list("tool_call_id", "decision_id")
    )
    calls = [
        (
            show.link(call, show.short(call.call_id)),
            _state(call, asked.get(call.pk, "")),
            format_html('<span class="kh-line">{}</span>', call_summary(call.tool_name, call.arguments)),
            call.effect,
            show.lasted(call.started_at, call.finished_at),
        )
        for call in rows
    ]
    return Section(
        title="Effects",
        columns=("call", "state", "what", "effect", "took"),
        rows=calls,
        more=all_of(ToolCall, run__id__exact=row.pk),
    )


def _state(call: ToolCall, decision_id: str) -> SafeString:
    if not decision_id:
        return show.badge(call.state)
    url = reverse("admin:console_inbox_item", args=[decision_id])
    return format_html('{} <a href="{}">Say what happened →</a>', show.badge(call.state), url)


def _tasks(row: Run) -> Section:
    tasks = [
        (show.link(task, show.short(task.task_id)), show.badge(task.status), show.redact(task.command)[:160])
        for task in latest(ShellTask.objects.filter(run=row))
    ]
    more = all_of(ShellTask, run__id__exact=row.pk)
    return Section(title="Shell tasks", columns=("task", "status", "command"), rows=tasks, more=more)


def _steps(row: Run) -> Section:
    steps = [
        (
            show.link(step, f"step {step.number}"),
            show.badge(step.status),
            step.attempt,
            f"{step.input_tokens:,} → {step.output_tokens:,}",
            f"{step.latency_ms:,} ms",
        )
        for step in latest(Step.objects.filter(run=row))
    ]
    columns = ("step", "status", "attempt", "tokens", "model took")
    return Section(title="Model calls", columns=columns, rows=steps, more=all_of(Step, run__id__exact=row.pk))


@admin.register(Step)
class StepAdmin(ConsoleAdmin):
    """Model calls."""

    plural, singular = "Model calls", "Model call"
    empty = "No model was called yet. Runs do that."

    list_display = (
        "name",
        "shown_status",
        "run_link",
        "route_id",
        "model",
        "attempt",
        "tokens",
        "latency",
        "began",
    )
    list_filter = ("status",)
    list_select_related = ("run",)
    search_fields = ("run__run_id__exact", "provider_request_id__exact")
    search_help_text = "A run id, or the provider's request id"
    fields = (
        "run_link", "number", "shown_status", "attempt", "route_id", "model", "tokens", "usage_estimated",
        "latency", "provider_request_id", "finish_reason", "error_json", "began", "ended",
    )  # fmt: skip
    shown_status = show.status_of()
    run_link = show.link_to("run", "run_id", "run")
    began = show.age_of("started_at", "started")
    ended = show.age_of("finished_at", "finished")
    error_json = show.json_of("error")

    @admin.display(description="step")
    def name(self, row: Step) -> str:
        """Its number in the run."""
        return f"step {row.number}"

    @admin.display(description="tokens")
    def tokens(self, row: Step) -> str:
        """Tokens in and out."""
        return f"{row.input_tokens:,} → {row.output_tokens:,}"

    @admin.display(description="model took")
    def latency(self, row: Step) -> str:
        """Milliseconds until the answer was whole."""
        return f"{row.latency_ms:,} ms"

    def title_of(self, row: Step) -> str:
        """Step and run."""
        return f"Step {row.number} of {row.run.run_id}"
