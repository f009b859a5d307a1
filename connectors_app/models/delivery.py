"""What goes out: the targets, each a queue of its own, and one delivery per output and target."""

from datetime import datetime

from django.db import models
from django.db.models import Q

from sessions_app.models import Run, Session
from sessions_app.models.base import JSONObject, name_field


class DeliveryTarget(models.Model):
    """One address of one plugin, and the queue of what goes there. Born with its first delivery.

    ``digest`` is of the plugin and the address in normal form, without what is one message's own; ``sealed``
    is that address itself (its headers may hold secrets), ``name`` what everybody sees instead. Who sends
    holds the lease; each taking adds one to ``lease_epoch`` and everything that is settled is fenced by it.
    ``next_at`` is when the head is due, null while nothing waits; an open circuit and the pace of the target
    are part of it.
    Purged when it has had no delivery for as long as settled deliveries are kept.
    """

    digest = models.CharField(max_length=64, unique=True)
    name = name_field(length=100)
    plugin = name_field(length=40)
    connector_name = name_field(length=100, blank=True, default="")
    sealed = models.TextField(editable=False)

    failures = models.PositiveIntegerField(default=0)
    circuit_open_until = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = name_field(blank=True, default="")
    next_at = models.DateTimeField(null=True, blank=True)
    last_attempt_at = models.DateTimeField(null=True, blank=True)

    lease_owner = name_field(blank=True, default="", length=120)
    lease_epoch = models.BigIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    db_now: datetime  # the database's time, on rows that ``targets.lock`` has read
    ticks: float  # the monotonic time just before that

    class Meta:
        ordering = ["-id"]
        indexes = [
            # targets.due: WHERE next_at <= now AND paused_at IS NULL AND lease_owner = '' ORDER BY next_at
            models.Index(
                fields=["next_at"],
                condition=Q(lease_owner="", paused_at=None),
                name="target_due",
            ),
            # targets.due, targets.expire_owned_by: WHERE lease_owner <> '' [AND expired]
            models.Index(fields=["lease_expires_at"], condition=~Q(lease_owner=""), name="target_leased"),
            # health: WHERE paused_at IS NOT NULL; WHERE circuit_open_until IS NOT NULL [AND is ahead]
            models.Index(fields=["paused_at"], condition=Q(paused_at__isnull=False), name="target_paused"),
            models.Index(
                fields=["circuit_open_until"],
                condition=Q(circuit_open_until__isnull=False),
                name="target_circuit",
            ),
            # targets of one plugin or connector: WHERE plugin = ? [AND connector = ?]
            models.Index(fields=["plugin", "connector_name"], name="target_plugin"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(lease_owner="", lease_expires_at__isnull=True)
                | (~Q(lease_owner="") & Q(lease_expires_at__isnull=False)),
                name="target_lease_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DeliveryStatus(models.TextChoices):
    """Where a delivery is. The edges are in ``services/deliveries/states.py`` alone."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD_LETTERED = "dead_lettered"
    UNKNOWN = "unknown"


WAITING_TO_LEAVE = frozenset({DeliveryStatus.PENDING, DeliveryStatus.SENDING, DeliveryStatus.RETRYING})
"""States that keep a place in the target's queue; the others have left it."""


class DeliveryKind(models.TextChoices):
    """An answer of a run, or a word of the runtime about it."""

    OUTPUT = "output"
    NOTICE = "notice"


class DeliveryDecision(models.TextChoices):
    """What an operator said about a delivery of unknown outcome."""

    HAPPENED = "happened"
    NOT_HAPPENED = "not_happened"
    GIVE_UP = "give_up"


class Delivery(models.Model):
    """One message for one target. Born in the transaction that commits what it says; moved by ``states``.

    ``id`` is its place in the target's queue: it is inserted under the target's row lock. ``key`` names what
    is delivered, so the same output committed again adds nothing. ``placement`` is what the address of this
    message says beside its target's, such as what it replies to. ``attempts`` counts how often it was begun
    to be sent, ``progress`` what the sender has confirmed of it. ``resolved_*`` say that a person has dealt
    with a dead letter or an unknown outcome. Purged when settled for ``KHEISH_KEEP_DELIVERIES_DAYS``.
    """

    delivery_id = name_field(unique=True, length=40)
    target = models.ForeignKey(DeliveryTarget, on_delete=models.PROTECT, related_name="deliveries")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="deliveries")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries")
    key = name_field()
    placement = JSONObject()
    kind = models.CharField(max_length=10, choices=DeliveryKind.choices, default=DeliveryKind.OUTPUT)
    content = models.TextField(blank=True, default="")
    parts = JSONObject(default=list)
    attachments = JSONObject(default=list)
    buttons = JSONObject(default=list)
    metadata = JSONObject()
    size_bytes = models.PositiveIntegerField(default=0)
    parts_count = models.PositiveIntegerField(default=0)

    status = models.CharField(max_length=15, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    progress = JSONObject()
    last_error = JSONObject()
    terminal_error = JSONObject()
    reference = models.CharField(max_length=500, blank=True, default="")
    detail = JSONObject()

    created_at = models.DateTimeField()
    attempted_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    decision = models.CharField(max_length=15, choices=DeliveryDecision.choices, blank=True, default="")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = name_field(blank=True, default="")
    resolution_reason = models.CharField(max_length=512, blank=True, default="")
    replayed_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="replays"
    )

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        indexes = [
            # the head of a target: WHERE target_id = ? AND status waits ORDER BY id LIMIT 1
            models.Index(
                fields=["target", "id"],
                condition=Q(status__in=sorted(WAITING_TO_LEAVE)),
                name="delivery_queue",
            ),
            # what needs a person: WHERE status IN (unknown, dead_lettered) AND resolved_at IS NULL
            models.Index(
                fields=["status", "-id"],
                condition=Q(status__in=["dead_lettered", "unknown"]),
                name="delivery_trouble",
            ),
            # retention: WHERE settled_at < ? ORDER BY settled_at
            models.Index(fields=["settled_at"], condition=Q(settled_at__isnull=False), name="delivery_age"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["target", "key"], name="delivery_once"),
            models.CheckConstraint(
                condition=Q(status__in=DeliveryStatus.values), name="delivery_status_known"
            ),
        ]

    def __str__(self) -> str:
        return self.delivery_id
