"""Who may call, and what was already answered."""

from django.db import models

from sessions_app.models.base import JSONObject, name_field


class Role(models.TextChoices):
    """What a token or a group may do; each includes the one before."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Right(models.TextChoices):
    """What somebody may be given beside a role; an admin holds them all.

    The names are those of the Django permissions that accounts and groups are given.
    """

    DECIDE_HIGH_RISK = "decide_high_risk"
    VIEW_UNREDACTED = "view_unredacted"


class ApiToken(models.Model):
    """A bearer token, stored as its SHA-256. Born shown once, ends revoked or expired.

    ``rights`` are ``Right`` values it holds beside its role.
    """

    token_id = name_field(unique=True, length=40)
    name = name_field()
    role = models.CharField(max_length=10, choices=Role.choices)
    rights = JSONObject(default=list)
    secret_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class IdempotencyRecord(models.Model):
    """The first answer to an ``Idempotency-Key``; written in the transaction it guards.

    Kept for ``KHEISH_KEEP_ANSWERS_HOURS``.
    """

    principal = name_field()
    key_digest = models.CharField(max_length=64)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = JSONObject()
    headers = JSONObject()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["principal", "key_digest"], name="idempotency_once"),
        ]
        indexes = [
            # retention: WHERE created_at < ?
            models.Index(fields=["created_at"], name="idempotency_age"),
            # search: WHERE key_digest = ? ORDER BY id DESC
            models.Index(fields=["key_digest", "-id"], name="idempotency_key"),
        ]

    def __str__(self) -> str:
        return self.key_digest[:12]
