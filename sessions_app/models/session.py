"""The session: the unit of order. One row carries the sequence, the lease and what waits."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import JSONObject, name_field
from sessions_app.models.persona import PersonaRevision


class UnknownEffects(models.TextChoices):
    """What an effect of unknown outcome does to its run."""

    ASK = "ask"
    TELL = "tell"


class Session(models.Model):
    """A durable conversation. Born by its first input or explicitly; ended, never deleted.

    Changed only under its row lock, and while a worker drives it only with the current epoch
    (``services/writes``). ``next_seq`` and ``last_hash`` are the head of its journal, ``last_order`` is the
    ``commit_order`` of its last entry;
    ``queued_runs`` and ``blocked`` say whether there is something to drive, in the row that release
    and submit both lock, so that no wake-up falls between them.
    """

    session_id = name_field(unique=True)
    thread_id = name_field(blank=True, default="")
    persona = models.ForeignKey(
        PersonaRevision, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    persona_bound_at = models.DateTimeField(null=True, blank=True)
    route_policy = JSONObject()
    permission_mode = name_field(blank=True, default="", length=30)
    permission_rules = JSONObject(default=list)
    unknown_effects = models.CharField(
        max_length=8, choices=UnknownEffects.choices, default=UnknownEffects.ASK
    )
    capability_scope = JSONObject()
    credential_scope = JSONObject()
    reply_targets = JSONObject(default=list)
    reply_targets_pinned = models.BooleanField(default=False)
    binding_keys = JSONObject(default=list)
    todos = JSONObject(default=list)
    workspace = name_field(length=300)
    created_by = name_field(blank=True, default="")
    revision = models.PositiveIntegerField(default=1)

    next_seq = models.BigIntegerField(default=1)
    last_hash = models.CharField(max_length=64, default="0" * 64)
    last_order = models.BigIntegerField(default=0)
    next_position = models.BigIntegerField(default=1)
    queued_runs = models.PositiveIntegerField(default=0)
    blocked = models.BooleanField(default=False)

    lease_owner = name_field(blank=True, default="", length=120)
    lease_epoch = models.BigIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = name_field(blank=True, default="")

    class Meta:
        ordering = ["-id"]
        indexes = [
            # recovery.due_sessions: WHERE queued_runs > 0 AND NOT blocked AND lease_owner = ''
            models.Index(
                fields=["id"],
                condition=Q(queued_runs__gt=0, blocked=False, lease_owner=""),
                name="session_ready",
            ),
            # leases.renew and recovery.due_sessions: WHERE lease_owner <> '' [AND expired]
            models.Index(fields=["lease_expires_at"], condition=~Q(lease_owner=""), name="session_leased"),
            # a persona's sessions; most sessions have none
            models.Index(fields=["persona"], condition=Q(persona__isnull=False), name="session_by_persona"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(lease_owner="", lease_expires_at__isnull=True)
                | (~Q(lease_owner="") & Q(lease_expires_at__isnull=False)),
                name="session_lease_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.session_id

    @property
    def unused(self) -> bool:
        """No run was ever accepted here, so nothing of one can be open."""
        return self.next_position == 1
