"""Shell tasks: commands the daemon runs and watches for an agent."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import JSONObject, name_field
from sessions_app.models.run import Run
from sessions_app.models.session import Session
from sessions_app.models.tool_call import ToolCall


class TaskStatus(models.TextChoices):
    """A task leaves ``in_progress`` once."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ShellTask(models.Model):
    """One command in a process group of its worker. Settled by that worker or, fail closed, by recovery."""

    task_id = name_field(unique=True, length=40)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="tasks")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="tasks")
    tool_call = models.ForeignKey(ToolCall, on_delete=models.PROTECT, related_name="tasks")
    command = models.TextField()
    description = models.TextField(blank=True, default="")
    background = models.BooleanField(default=False)
    status = models.CharField(max_length=12, choices=TaskStatus.choices, default=TaskStatus.IN_PROGRESS)
    worker = name_field(length=120)
    pid = models.IntegerField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    stop_reason = models.CharField(max_length=500, blank=True, default="")
    output_total_bytes = models.BigIntegerField(default=0)
    output_size_bytes = models.BigIntegerField(default=0)
    output_rotated = models.BooleanField(default=False)
    metadata = JSONObject()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=TaskStatus.values), name="task_status_known"),
        ]
        indexes = [
            # a worker's live tasks: WHERE status = 'in_progress' AND worker = ?
            models.Index(fields=["worker"], condition=Q(status="in_progress"), name="task_live"),
            models.Index(fields=["session", "-id"], name="task_by_session"),
        ]

    def __str__(self) -> str:
        return self.task_id


class TaskOutput(models.Model):
    """A piece of a task's output; the oldest pieces go when the output rotates."""

    task = models.ForeignKey(ShellTask, on_delete=models.CASCADE, related_name="chunks")
    offset = models.BigIntegerField()
    text = models.TextField()
    size_bytes = models.PositiveIntegerField()

    class Meta:
        ordering = ["task", "offset"]
        constraints = [
            models.UniqueConstraint(fields=["task", "offset"], name="task_output_once"),
        ]

    def __str__(self) -> str:
        return f"{self.task_id}@{self.offset}"
