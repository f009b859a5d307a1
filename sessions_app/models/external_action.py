"""Evidence of what left the process: signed records in one chain a bucket."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import name_field


class ActionPhase(models.TextChoices):
    """Intent is recorded before an effect, its outcome after it."""

    STARTED = "started"
    FINISHED = "finished"


class ActionKind(models.TextChoices):
    """What acted on the outside. ``MCP`` is for tools of outside servers, which nothing calls yet."""

    TOOL = "tool"
    DELIVERY = "delivery"
    WEBHOOK_ANSWER = "webhook_answer"
    MCP = "mcp"


class ActionChain(models.Model):
    """The head of one bucket's chain, with a signed checkpoint over it.

    Born with the first record of its bucket, locked by whoever appends, removed only with all its records.
    """

    bucket = name_field(unique=True, length=240)
    count = models.BigIntegerField(default=0)
    head = models.CharField(max_length=64)
    at = models.DateTimeField()
    key_id = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)

    class Meta:
        ordering = ["bucket"]
        indexes = [
            # retention: WHERE at < ? ORDER BY at; signed by another key: WHERE key_id < ? OR key_id > ?
            models.Index(fields=["at"], name="action_chain_age"),
            models.Index(fields=["key_id"], name="action_chain_key"),
        ]

    def __str__(self) -> str:
        return f"{self.bucket} ({self.count})"


class ExternalAction(models.Model):
    """One signed fact about an outward call. Written only by ``services/external_actions``, never changed.

    Names are text and not foreign keys: the evidence outlives the rows it speaks of. ``seq`` is dense in
    its ``bucket`` (a session's id, or ``unscoped``). Bodies are never here, only their digests.
    """

    version = models.PositiveSmallIntegerField(default=1)
    bucket = name_field(length=240)
    seq = models.BigIntegerField()
    at = models.DateTimeField()
    session_id = name_field(blank=True, default="")
    run_id = name_field(blank=True, default="", length=40)
    tool_call_id = name_field(blank=True, default="", length=40)
    delivery_id = name_field(blank=True, default="", length=40)
    principal_id = name_field(blank=True, default="")
    grant_id = models.CharField(max_length=500, blank=True, default="")
    phase = models.CharField(max_length=8, choices=ActionPhase.choices)
    kind = models.CharField(max_length=20, choices=ActionKind.choices)
    target = models.CharField(max_length=300)
    request_digest = models.CharField(max_length=64, blank=True, default="")
    response_digest = models.CharField(max_length=64, blank=True, default="")
    outcome = models.CharField(max_length=80, blank=True, default="")
    prev_hash = models.CharField(max_length=64)
    record_hash = models.CharField(max_length=64)
    signature_alg = models.CharField(max_length=10)
    key_id = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)

    class Meta:
        ordering = ["bucket", "seq"]
        constraints = [
            # also the index of every read of one bucket
            models.UniqueConstraint(fields=["bucket", "seq"], name="external_action_dense"),
            models.CheckConstraint(
                condition=Q(phase__in=ActionPhase.values), name="external_action_phase_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=ActionKind.values), name="external_action_kind_known"
            ),
        ]
        indexes = [
            # one run's actions: WHERE run_id = ? ORDER BY seq
            models.Index(fields=["run_id", "seq"], name="external_action_run"),
            # all of a kind: WHERE kind = ? ORDER BY id DESC
            models.Index(fields=["kind", "-id"], name="external_action_kind"),
            # those of a session, which may be in another bucket: WHERE session_id = ? ORDER BY id DESC
            models.Index(fields=["session_id", "-id"], name="external_action_session"),
        ]

    @property
    def action_id(self) -> str:
        """The public id, which is the hash: nothing can take the record's name without being it."""
        return self.record_hash

    def __str__(self) -> str:
        return f"{self.bucket}#{self.seq} {self.kind} {self.phase}"
