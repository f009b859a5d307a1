"""Runs and their steps."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import JSONObject, name_field
from sessions_app.models.persona import PersonaRevision
from sessions_app.models.session import Session


class RunStatus(models.TextChoices):
    """Where a run is. The edges between them are in ``services/run_state.py`` alone."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    WAITING_FOR_USER_QUESTION = "waiting_for_user_question"
    WAITING_FOR_OPERATOR = "waiting_for_operator"
    WAITING_FOR_BUDGET = "waiting_for_budget"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


WAITING = frozenset(status for status in RunStatus if status.startswith("waiting_"))
ACTIVE = WAITING | {RunStatus.RUNNING}
LIVE = ACTIVE | {RunStatus.QUEUED}
TERMINAL = frozenset(RunStatus) - LIVE


class Run(models.Model):
    """One execution in a session. Born by an accepted input; moved by ``run_state`` alone.

    ``position`` orders the runs of a session for good: a run that waited and was resumed keeps its
    place, which is the head. What a run may not see change later is pinned here when it is created:
    route, model, generation, fallbacks, persona revision, permission mode, runtime settings, reply targets.
    ``input_message`` is the redacted message the model will see; its digest is pinned with it.
    """

    run_id = name_field(unique=True, length=40)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="runs", db_index=False)
    position = models.BigIntegerField()
    kind = name_field(length=40, default="input")
    status = models.CharField(max_length=30, choices=RunStatus.choices, default=RunStatus.QUEUED)

    route_id = name_field()
    model = name_field(blank=True, default="")
    fallbacks = JSONObject(default=list)
    generation = JSONObject()
    persona = models.ForeignKey(
        PersonaRevision, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    permission_mode = name_field(length=30)
    runtime_revision = models.PositiveIntegerField(default=0)
    reply_targets = JSONObject(default=list)

    source_plugin = name_field(default="daemon", length=60)
    source_kind = name_field(default="api", length=60)
    actor_id = name_field(default="api-user")
    requested_by = name_field(blank=True, default="")
    input_items = JSONObject(default=list)
    input_message = JSONObject()
    metadata = JSONObject()

    step = models.PositiveIntegerField(default=0)
    max_steps = models.PositiveIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    recovered_count = models.PositiveIntegerField(default=0)
    stop_requested = models.CharField(max_length=12, blank=True, default="")
    stop_requested_by = name_field(blank=True, default="")
    stop_reason = models.CharField(max_length=500, blank=True, default="")
    outputs = JSONObject(default=list)
    error = JSONObject()

    submitted_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    accepted_place: int | None = None
    """No column: how many runs of the session were queued once this one, the last, was accepted."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["session", "position"], name="run_position_once"),
            models.UniqueConstraint(
                fields=["session"], condition=Q(status__in=sorted(ACTIVE)), name="run_one_active"
            ),
            models.CheckConstraint(condition=Q(status__in=RunStatus.values), name="run_status_known"),
            models.CheckConstraint(
                condition=Q(stop_requested__in=["", "cancelled", "interrupted"]), name="run_stop_known"
            ),
        ]
        indexes = [
            # the head of a session: WHERE session_id = ? AND status is live ORDER BY position
            models.Index(
                fields=["session", "position"], condition=Q(status__in=sorted(LIVE)), name="run_live"
            ),
            # lists by status: WHERE status = ? ORDER BY id DESC
            models.Index(fields=["status", "-id"], name="run_by_status"),
            # a persona's runs; most runs have none
            models.Index(fields=["persona"], condition=Q(persona__isnull=False), name="run_by_persona"),
        ]

    def __str__(self) -> str:
        return self.run_id


class StepStatus(models.TextChoices):
    """A step is open until the model's answer is committed."""

    STARTED = "started"
    ANSWERED = "answered"
    FAILED = "failed"


class Step(models.Model):
    """One model call of a run. Born before the call; a call repeated after a crash adds an attempt."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="steps", db_index=False)
    number = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=10, choices=StepStatus.choices, default=StepStatus.STARTED)
    route_id = name_field(blank=True, default="")
    model = name_field(blank=True, default="")
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    usage_estimated = models.BooleanField(default=False)
    latency_ms = models.PositiveIntegerField(default=0)
    provider_request_id = name_field(blank=True, default="")
    finish_reason = name_field(blank=True, default="", length=30)
    error = JSONObject()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["run", "number"]
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="step_once"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} step {self.number}"
