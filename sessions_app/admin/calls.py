"""The effect ledger: tool calls with their stored results, and shell tasks with their output."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section, latest
from sessions_app.admin.filters import ByStatus
from sessions_app.admin.verbs import Cleaned, Outcome, ReasonForm, Verb
from sessions_app.models import (
    Approval,
    ShellTask,
    StoredResult,
    TaskOutput,
    TaskStatus,
    ToolCall,
)
from sessions_app.services import shell_tasks
from sessions_app.services.principal import Principal
from sessions_app.services.projections.shape import call_summary


@admin.register(ToolCall)
class ToolCallAdmin(ConsoleAdmin):
    """Effects: asked, decided, started, settled."""

    plural, singular, public_id = "Tool calls", "Tool call", "call_id"
    empty = "No agent has called a tool yet."

    list_display = ("shown_id", "shown_state", "what", "effect", "run_link", "attempt", "asked")
    list_filter = (("state", ByStatus), "effect")
    list_select_related = ("run",)
    search_fields = ("call_id__exact", "run__run_id__exact", "idempotency_key__exact")
    search_help_text = "A call id, a run id or an idempotency key"
    fieldsets = (
        ("What", {"fields": ("tool_name", "exact_input", "effect", "run_link", "step_link")}),
        ("Why it may run", {"fields": ("permission_json", "digest", "idempotency_key")}),
        ("What came of it", {"fields": ("shown_state", "result", "error_code", "data_json", "stored_link")}),
        (
            "Times",
            {"classes": ("collapse",), "fields": ("attempt", "asked", "began", "ended", "prepared_json")},
        ),
    )
    shown_id = show.id_of("call_id", "call")
    shown_state = show.status_of("state", "state")
    run_link = show.link_to("run", "run_id", "run")
    asked = show.age_of("created_at", "asked")
    began = show.age_of("started_at", "started")
    ended = show.age_of("finished_at", "settled")
    exact_input = show.json_of("arguments", whole=True)
    permission_json = show.json_of("permission", "permission decision")
    prepared_json = show.json_of("prepared", "for a later probe")
    data_json = show.json_of("data")
    result = show.text_of("content", "result")

    @admin.display(description="what")
    def what(self, row: ToolCall) -> SafeString:
        """The call in one redacted line."""
        return format_html('<span class="kh-line">{}</span>', call_summary(row.tool_name, row.arguments))

    @admin.display(description="step")
    def step_link(self, row: ToolCall) -> SafeString | str:
        """The model call that asked for it."""
        return show.link(row.step, f"step {row.step.number}")

    @admin.display(description="whole result")
    def stored_link(self, row: ToolCall) -> SafeString | str:
        """Where a large result is kept."""
        return show.link(row.stored, f"{row.stored.size_bytes:,} bytes") if row.stored else show.NOTHING

    def status_line(self, row: ToolCall) -> Sequence[Any]:
        """State and effect class."""
        return (show.badge(row.state), row.effect, show.age(row.created_at))

    def sections(self, row: ToolCall) -> Sequence[Section]:
        """Who was asked, and the command behind it."""
        asked = [
            (
                show.link(item, show.short(item.approval_id)),
                show.badge(item.status),
                show.age(item.created_at),
            )
            for item in latest(Approval.objects.filter(tool_call=row))
        ]
        tasks = [
            (show.link(task, show.short(task.task_id)), show.badge(task.status), show.age(task.started_at))
            for task in latest(ShellTask.objects.filter(tool_call=row))
        ]
        return (
            Section(title="Approvals", columns=("approval", "status", "asked"), rows=asked),
            Section(title="Shell tasks", columns=("task", "status", "started"), rows=tasks),
        )


@admin.register(StoredResult)
class StoredResultAdmin(ConsoleAdmin):
    """Results too large for a row."""

    plural, singular, public_id = "Stored results", "Stored result", "sha256"
    empty = "No result was too large for its row yet."

    list_display = ("name", "size", "made")
    search_fields = ("sha256__exact",)
    search_help_text = "A whole SHA-256"
    fields = ("sha256", "size", "made", "text")
    made = show.age_of("created_at", "stored")
    text = show.text_of("content")

    @admin.display(description="sha-256")
    def name(self, row: StoredResult) -> str:
        """The beginning of the digest."""
        return row.sha256[:16]

    @admin.display(description="bytes")
    def size(self, row: StoredResult) -> str:
        """How large it is."""
        return f"{row.size_bytes:,}"


def _stop(row: ShellTask, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    reason = f"{principal.name}: {cleaned['reason']}" if cleaned["reason"] else principal.name
    after = shell_tasks.request_stop(row, reason)
    return None if after.status == TaskStatus.IN_PROGRESS else Outcome(word=f"already {after.status}")


STOP = Verb(
    name="stop",
    label="Stop",
    past="asked to stop",
    act=_stop,
    form=ReasonForm,
    applies=lambda row: row.status == TaskStatus.IN_PROGRESS,
    tone="danger",
    explain="Its whole process group is ended: first asked, then killed. The output is kept.",
)


@admin.register(ShellTask)
class ShellTaskAdmin(ConsoleAdmin):
    """Commands the service runs and watches."""

    plural, singular, public_id = "Shell tasks", "Shell task", "task_id"
    empty = "No agent has run a command yet."
    verbs = (STOP,)

    list_display = ("shown_id", "shown_status", "what", "run_link", "exit_code", "took", "began")
    list_filter = ("status", "background")
    list_select_related = ("run",)
    search_fields = ("task_id__exact", "run__run_id__exact", "session__session_id__startswith")
    search_help_text = "A task or run id, or the beginning of a session's name"
    fieldsets = (
        (
            "Command",
            {"fields": ("command_text", "about", "background", "session_link", "run_link", "call_link")},
        ),
        ("Output", {"fields": ("output", "sizes")}),
        (
            "End",
            {
                "fields": (
                    "shown_status",
                    "exit_code",
                    "stop",
                    "metadata_json",
                    "worker",
                    "pid",
                    "began",
                    "ended",
                )
            },
        ),
    )
    shown_id = show.id_of("task_id", "task")
    shown_status = show.status_of()
    session_link = show.link_to("session", "session_id", "session")
    run_link = show.link_to("run", "run_id", "run")
    call_link = show.link_to("tool_call", "call_id", "tool call")
    began = show.age_of("started_at", "started")
    ended = show.age_of("finished_at", "finished")
    command_text = show.text_of("command")
    about = show.line_of("description")
    metadata_json = show.json_of("metadata")

    @admin.display(description="command")
    def what(self, row: ShellTask) -> SafeString:
        """The command on one line."""
        return format_html('<span class="kh-line">{}</span>', show.redact(row.command))

    @admin.display(description="took")
    def took(self, row: ShellTask) -> str:
        """From start to end, or until now."""
        return show.lasted(row.started_at, row.finished_at)

    @admin.display(description="newest output")
    def output(self, row: ShellTask) -> SafeString | str:
        """The end of what it wrote."""
        return show.block(shell_tasks.output(row, tail_bytes=show.LIMIT).text)

    @admin.display(description="bytes")
    def sizes(self, row: ShellTask) -> str:
        """Kept of all."""
        rotated = ", older ones rotated away" if row.output_rotated else ""
        return f"{row.output_size_bytes:,} kept of {row.output_total_bytes:,}{rotated}"

    @admin.display(description="stop requested")
    def stop(self, row: ShellTask) -> SafeString | str:
        """When and why."""
        if row.stop_requested_at is None:
            return show.NOTHING
        return format_html("{} {}", show.age(row.stop_requested_at), show.redact(row.stop_reason))

    def status_line(self, row: ShellTask) -> Sequence[Any]:
        """Status and length."""
        return (show.badge(row.status), self.took(row))

    def facts(self, row: ShellTask) -> Sequence[tuple[str, Any]]:
        """What would be stopped."""
        return (
            ("Task", show.link(row, show.short(row.task_id))),
            ("Status", show.badge(row.status)),
            ("Command", show.block(row.command)),
        )


@admin.register(TaskOutput)
class TaskOutputAdmin(ConsoleAdmin):
    """Pieces of what commands wrote."""

    plural, singular = "Task output", "Piece of output"
    empty = "No command has written anything yet."

    list_display = ("__str__", "task_link", "offset", "size_bytes")
    list_select_related = ("task",)
    search_fields = ("task__task_id__exact",)
    search_help_text = "A task id"
    fields = ("task_link", "offset", "size_bytes", "piece")
    task_link = show.link_to("task", "task_id", "task")
    piece = show.text_of("text")
