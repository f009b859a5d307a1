"""Shell tasks: bodies, queries, answers."""

from typing import Final

from rest_framework import serializers

from sessions_app.api.serializers.base import Choice, PageQuery, Query
from sessions_app.models import TaskStatus

LARGEST_TAIL_BYTES: Final = 262_144


class TaskQuery(PageQuery):
    """Filters of the task list."""

    status = Choice(choices=TaskStatus.values, required=False)


class TaskOutputQuery(Query):
    """How much of the output, and whether to wait for the end first."""

    tail_bytes = serializers.IntegerField(
        required=False, min_value=1, max_value=LARGEST_TAIL_BYTES, default=8192
    )
    full = serializers.BooleanField(required=False, default=False, help_text="All that is kept.")
    wait = serializers.BooleanField(required=False, default=False)
    timeout_ms = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=3_600_000,
        default=30_000,
        help_text="At most 60000 are waited.",
    )


class TaskMetadata(serializers.Serializer):
    """How a task came to its end."""

    terminal_reason = serializers.CharField(required=False)
    recovered_on_boot = serializers.BooleanField(required=False)
    stop_requested = serializers.BooleanField()
    stop_requested_at = serializers.DateTimeField(required=False)
    stop_reason = serializers.CharField(required=False)
    reply_targets = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text="Where the end of a background task is told: what its run captured.",
    )


class TaskView(serializers.Serializer):
    """A shell command the daemon runs and watches."""

    task_id = serializers.CharField()
    session_id = serializers.CharField()
    run_id = serializers.CharField()
    call_id = serializers.CharField()
    command = serializers.CharField()
    description = serializers.CharField()
    background = serializers.BooleanField()
    status = serializers.ChoiceField(choices=TaskStatus.values)
    exit_code = serializers.IntegerField(required=False)
    metadata = TaskMetadata()
    output_size_bytes = serializers.IntegerField()
    output_total_bytes = serializers.IntegerField()
    output_rotated = serializers.BooleanField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(required=False)


class TaskOutputView(serializers.Serializer):
    """``success`` says that the output was read, not that the command succeeded."""

    retrieval_status = serializers.ChoiceField(choices=["success", "not_ready", "timeout"])
    task = TaskView()
    output_text = serializers.CharField()
    output_truncated = serializers.BooleanField()
    output_size_bytes = serializers.IntegerField()
    output_total_bytes = serializers.IntegerField()
    output_rotated = serializers.BooleanField()
