"""Captures: what devices recorded, kept for a while, and looked at by an agent when somebody asks.

An observation is data. It makes no run by itself; a materialization does, by hand or by a schedule.
"""

from django.db import models
from django.db.models import Q

from sessions_app.models import Asset, Run, Session
from sessions_app.models.base import JSONObject, name_field


class ObservationKind(models.TextChoices):
    """What a source records; ``services/observations/stored.py`` says which types each may send."""

    SCREEN_SNAPSHOT = "screen_snapshot"
    WEBCAM_SNAPSHOT = "webcam_snapshot"
    MICROPHONE_SEGMENT = "microphone_segment"
    TEXT_SNAPSHOT = "text_snapshot"
    DOCUMENT = "document"


class ObservationSource(models.Model):
    """One device or program that uploads observations. Born and removed by an admin.

    ``retention_*`` bound what is kept of it, counted from receipt. ``burst_count`` uploads are taken in any
    ``burst_seconds``. What a ``sensitive`` source says of its observations is shown to no viewer.
    """

    source_id = name_field(unique=True, length=128)
    kind = models.CharField(max_length=24, choices=ObservationKind.choices)
    sensitive = models.BooleanField(default=True)
    retention_days = models.PositiveIntegerField(default=7)
    retention_count = models.PositiveIntegerField(default=512)
    retention_bytes = models.BigIntegerField(default=512 * 1024 * 1024)
    burst_count = models.PositiveIntegerField(default=120)
    burst_seconds = models.PositiveIntegerField(default=60)
    allow_raw_purge = models.BooleanField(default=False)
    allow_materialization = models.BooleanField(default=True)
    allow_output_delivery = models.BooleanField(default=False)
    disabled_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["source_id"]

    def __str__(self) -> str:
        return self.source_id


class ObservationToken(models.Model):
    """What lets a device upload to one source and do nothing else; stored as its SHA-256.

    Born with its source or by a rotation, shown once. A rotation gives the one before an end
    (``expires_at``), a revocation ends all of a source.
    """

    token_id = name_field(unique=True, length=40)
    source = models.ForeignKey(ObservationSource, on_delete=models.CASCADE, related_name="tokens")
    secret_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.token_id


class PurgeReason(models.TextChoices):
    """Why the content of an observation went."""

    AGE = "age"
    COUNT = "count"
    BYTES = "bytes"
    REQUEST = "request"


class Observation(models.Model):
    """One upload. ``key`` names it within its source and ``fingerprint`` what it said.

    Purging takes its content away (``asset``, ``metadata``, ``file_name``); the row stays for
    ``KHEISH_KEEP_PURGED_OBSERVATIONS_DAYS``, so that a repeat of the upload is still recognised.
    """

    observation_id = name_field(unique=True, length=40)
    source = models.ForeignKey(ObservationSource, on_delete=models.CASCADE, related_name="observations")
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)
    asset = models.ForeignKey(
        Asset, null=True, blank=True, on_delete=models.PROTECT, related_name="observations"
    )
    media_type = name_field(length=100)
    file_name = name_field(blank=True, default="")
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    stream_id = name_field(blank=True, default="", length=128)
    capture_group_id = name_field(blank=True, default="", length=128)
    metadata = JSONObject()
    captured_at = models.DateTimeField()
    received_at = models.DateTimeField()
    purged_at = models.DateTimeField(null=True, blank=True)
    purge_reason = models.CharField(max_length=10, choices=PurgeReason.choices, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["source", "key"], name="observation_once"),
            models.CheckConstraint(
                condition=Q(purged_at__isnull=True, asset__isnull=False)
                | Q(purged_at__isnull=False, asset__isnull=True),
                name="observation_whole_or_purged",
            ),
        ]
        indexes = [
            # the burst of a source, its newest, its retention: WHERE source_id = ? ORDER BY received_at
            models.Index(fields=["source", "received_at"], name="observation_received"),
            # what is kept: WHERE source_id = ? AND purged_at IS NULL ORDER BY id DESC
            models.Index(
                fields=["source", "-id"], condition=Q(purged_at__isnull=True), name="observation_kept"
            ),
            # a group across sources: WHERE capture_group_id = ?
            models.Index(
                fields=["capture_group_id"], condition=~Q(capture_group_id=""), name="observation_group"
            ),
            # rows whose time is over: WHERE purged_at < ?
            models.Index(
                fields=["purged_at"], condition=Q(purged_at__isnull=False), name="observation_purged"
            ),
        ]

    def __str__(self) -> str:
        return self.observation_id


class MaterializationSchedule(models.Model):
    """Looks at a source every so often: each fire is one run. Born and removed by an operator.

    ``next_due_at`` stands on a grid of ``interval_seconds``; fires that were missed are made up for by one.
    A fire waits while the run before it has not ended. ``seen_through`` is the row of the last observation it
    has shown: with ``new_only`` earlier ones are not shown again. ``last_outcome`` is for people.
    """

    schedule_id = name_field(unique=True, length=40)
    source = models.ForeignKey(ObservationSource, on_delete=models.CASCADE, related_name="schedules")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="observation_schedules")
    interval_seconds = models.PositiveIntegerField()
    prompt = models.TextField()
    options = JSONObject()
    new_only = models.BooleanField(default=True)
    seen_through = models.BigIntegerField(default=0)
    next_due_at = models.DateTimeField()
    last_fired_at = models.DateTimeField(null=True, blank=True)
    last_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    last_outcome = name_field(blank=True, default="", length=60)
    last_detail = models.CharField(max_length=500, blank=True, default="")
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            # what is due: WHERE next_due_at <= ? ORDER BY next_due_at
            models.Index(fields=["next_due_at"], name="observation_schedule_due"),
        ]

    def __str__(self) -> str:
        return self.schedule_id


class Materialization(models.Model):
    """Observations shown to an agent: which, to what run, and why. Born in the run's own transaction.

    ``due_at`` is the moment of the schedule it stands for: a schedule has one for each.
    """

    materialization_id = name_field(unique=True, length=40)
    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="materialization")
    schedule = models.ForeignKey(
        MaterializationSchedule,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="materializations",
    )
    due_at = models.DateTimeField(null=True, blank=True)
    selector = JSONObject()
    observation_ids = JSONObject(default=list)
    requested_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="materialization_once"),
        ]

    def __str__(self) -> str:
        return self.materialization_id
