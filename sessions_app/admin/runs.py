"""Runs and their steps, in the order of evidence: the run, what it waits for, its calls, its journal."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from sessions_app.admin import evidence, show, timeline
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.admin.filters import ByLiveness, ByPersona, ByRoute
from sessions_app.admin.verbs import Cleaned, Outcome, ReasonForm, Verb
from sessions_app.models import (
    LIVE,
    Approval,
    Asset,
    ExternalAction,
    JournalEntry,
    OperatorDecision,
    Run,
    ShellTask,
    Step,
    ToolCall,
    UserQuestion,
)
from sessions_app.services import runs
from sessions_app.services.access import Principal
from sessions_app.services.projections.shape import call_summary


def _cancel(row: Run, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    after = runs.cancel(row.run_id, principal=principal.name, reason=cleaned["reason"])
    return Outcome(word="asked to stop") if after.status in LIVE else None


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


@admin.register(Run)
class RunAdmin(ConsoleAdmin):
    """Executions."""

    plural, singular, public_id = "Runs", "Run", "run_id"
    empty = "No run yet. Give a session work:"
    empty_command = 'python3 manage.py sessions input demo "Say hello" --follow'
    verbs = (CANCEL,)

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
    list_filter = (ByLiveness, "status", ByRoute, ByPersona)
    list_select_related = ("session",)
    search_fields = ("run_id__exact", "session__session_id__startswith")
    search_help_text = "A run id, or the beginning of a session's name"
    fieldsets = (
        (None, {"fields": ("session_link", "task", "answers", "sent_files", "failure", "stop")}),
        (
            "Pinned when it was created",
            {
                "classes": ("collapse",),
                "fields": (
                    "route",
                    "fallbacks_json",
                    "generation_json",
                    "persona",
                    "permission_mode",
                    "prompt",
                ),
            },
        ),
        (
            "Source",
            {
                "classes": ("collapse",),
                "fields": ("kind", "source", "actor_id", "requested_by", "metadata_json", "targets_json"),
            },
        ),
        (
            "Numbers",
            {
                "classes": ("collapse",),
                "fields": (
                    "steps_taken",
                    "tokens",
                    "took",
                    "recovered_count",
                    "submitted",
                    "started",
                    "ended",
                ),
            },
        ),
    )
    shown_id = show.id_of("run_id", "run")
    shown_status = show.status_of()
    session_link = show.link_to("session", "session_id", "session")
    submitted = show.age_of("submitted_at", "submitted")
    started = show.age_of("started_at", "started")
    ended = show.age_of("finished_at", "finished")
    fallbacks_json = show.json_of("fallbacks")
    generation_json = show.json_of("generation")
    metadata_json = show.json_of("metadata")
    targets_json = show.targets_of()
    failure = show.json_of("error")
    prompt = show.text_of("system_prompt", "daemon's prompt")

    @admin.display(description="input")
    def asked_for(self, row: Run) -> SafeString:
        """The input on one line."""
        return format_html('<span class="kh-line">{}</span>', show.redact(runs.text_preview(row)))

    @admin.display(description="input")
    def task(self, row: Run) -> SafeString | str:
        """The whole input."""
        return show.block(str(row.input_message.get("content", "")))

    @admin.display(description="output")
    def answers(self, row: Run) -> SafeString | str:
        """What it said."""
        return show.block("\n\n".join(filter(None, (_said(output) for output in row.outputs))))

    @admin.display(description="files it sent")
    def sent_files(self, row: Run) -> SafeString | str:
        """What went out with its outputs."""
        return _sent_files(row)

    @admin.display(description="stop requested")
    def stop(self, row: Run) -> str:
        """Whether somebody asked it to stop, and why."""
        if not row.stop_requested:
            return show.NOTHING
        return f"{row.stop_requested} by {row.stop_requested_by}: {show.redact(row.stop_reason)}"

    @admin.display(description="route")
    def route(self, row: Run) -> str:
        """Route and model."""
        return row.route_id if row.model in ("", row.route_id) else f"{row.route_id} / {row.model}"

    @admin.display(description="source")
    def source(self, row: Run) -> str:
        """Where it came from."""
        return f"{row.source_plugin} / {row.source_kind}"

    @admin.display(description="tokens")
    def tokens(self, row: Run) -> str:
        """Tokens in and out."""
        return f"{row.input_tokens:,} → {row.output_tokens:,}"

    @admin.display(description="step")
    def steps_taken(self, row: Run) -> str:
        """Model calls of those it may make."""
        return f"{row.step} of {row.max_steps}" if row.max_steps else str(row.step)

    @admin.display(description="took")
    def took(self, row: Run) -> str:
        """From submission to its end, or until now."""
        return show.lasted(row.submitted_at, row.finished_at)

    def status_line(self, row: Run) -> Sequence[Any]:
        """Status, step, recoveries."""
        again = f"recovered {row.recovered_count}×" if row.recovered_count else ""  # noqa: RUF001
        return (show.badge(row.status), f"step {row.step}", show.age(row.submitted_at), again)

    def facts(self, row: Run) -> Sequence[tuple[str, Any]]:
        """What would be stopped."""
        return (
            ("Run", show.link(row, row.run_id)),
            ("Status", show.badge(row.status)),
            ("Session", show.link(row.session, row.session.session_id)),
            ("Input", self.asked_for(row)),
        )

    def sections(self, row: Run) -> Sequence[Section]:
        """What it waits for, what it did, what is written down."""
        actions = ExternalAction.objects.filter(run_id=row.run_id)
        journal = JournalEntry.objects.filter(run_id=row.pk)
        return (
            _waits(row),
            _calls(row),
            _tasks(row),
            evidence.section(actions, all_of(ExternalAction, q=row.run_id)),
            timeline.section(journal, all_of(JournalEntry, run_id=row.pk)),
            _steps(row),
        )


def _said(output: Mapping[str, Any]) -> str:
    """Return everything an output says, its parts too."""
    parts = (str(part.get("text", "")) for part in output.get("parts", ()))
    return "\n".join(filter(None, (str(output.get("content", "")), *parts)))


def _sent_files(row: Run) -> SafeString | str:
    """Return the files of a run's outputs, each with a link to its page."""
    files = {file["asset_id"]: file for output in row.outputs for file in output.get("files", ())}
    if not files:
        return show.NOTHING
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
    calls = [
        (
            show.link(call, show.short(call.call_id)),
            show.badge(call.state),
            format_html('<span class="kh-line">{}</span>', call_summary(call.tool_name, call.arguments)),
            call.effect,
            show.lasted(call.started_at, call.finished_at),
        )
        for call in latest(ToolCall.objects.filter(run=row))
    ]
    columns = ("call", "state", "what", "effect", "took")
    return Section(
        title="Tool calls", columns=columns, rows=calls, more=all_of(ToolCall, run__id__exact=row.pk)
    )


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
