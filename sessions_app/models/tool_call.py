"""The effect ledger: what a tool was asked, whether it began, and what came of it."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import JSONObject, name_field
from sessions_app.models.run import Run, Step


class ToolCallState(models.TextChoices):
    """States of one effect; the edges are in ``services/effects.py``."""

    PLANNED = "planned"
    AWAITING_APPROVAL = "awaiting_approval"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"
    UNKNOWN = "unknown"
    RECONCILED = "reconciled"


SETTLED = frozenset(
    {ToolCallState.SUCCEEDED, ToolCallState.FAILED, ToolCallState.DENIED, ToolCallState.RECONCILED}
)


class StoredResult(models.Model):
    """A result too large for a row or a prompt, kept once under its SHA-256; never changed."""

    sha256 = models.CharField(max_length=64, unique=True)
    content = models.TextField()
    size_bytes = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.sha256


class ToolCall(models.Model):
    """One call the model asked for. Born with the assistant message, settled once.

    ``arguments`` are the exact ones and are never shown unredacted. ``digest`` names the call an
    approval binds to; ``idempotency_key`` is the digest of run, step, call and arguments.
    ``permission`` is the audit of the decision that let it run or not.
    """

    call_id = name_field(unique=True, length=40)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="tool_calls", db_index=False)
    step = models.ForeignKey(Step, on_delete=models.PROTECT, related_name="tool_calls", db_index=False)
    index = models.PositiveSmallIntegerField()
    provider_call_id = name_field(blank=True, default="")
    tool_name = name_field()
    effect = name_field(length=12)
    arguments = JSONObject()
    digest = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=64)
    state = models.CharField(max_length=20, choices=ToolCallState.choices, default=ToolCallState.PLANNED)
    permission = JSONObject()
    prepared = JSONObject()
    attempt = models.PositiveIntegerField(default=0)
    content = models.TextField(blank=True, default="")
    is_error = models.BooleanField(default=False)
    error_code = name_field(blank=True, default="", length=60)
    data = JSONObject()
    stored = models.ForeignKey(StoredResult, null=True, blank=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["step", "index"]
        permissions = [("view_unredacted", "Can look at exact arguments and results; each look is recorded")]
        constraints = [
            models.UniqueConstraint(fields=["step", "index"], name="tool_call_once"),
            models.CheckConstraint(condition=Q(state__in=ToolCallState.values), name="tool_call_state_known"),
        ]
        indexes = [
            # what a run still owes: WHERE run_id = ? AND state is open
            models.Index(fields=["run", "state"], name="tool_call_open"),
        ]

    def __str__(self) -> str:
        return f"{self.call_id} {self.tool_name}"
