"""What came in: receipts, the keys that bind conversations to sessions, and what was refused."""

from django.db import models

from connectors_app.models.connector import Connector
from sessions_app.models import Run, Session
from sessions_app.models.base import name_field


class IngressReceipt(models.Model):
    """One accepted event. Born in the transaction that accepts its run, so neither exists without the other.

    ``key`` names the event within its connector, ``fingerprint`` what it said. A repeat only counts up
    ``duplicates``. Kept for ``KHEISH_KEEP_RECEIPTS_DAYS``; an event whose receipt is gone counts as new.
    """

    connector = models.ForeignKey(Connector, on_delete=models.CASCADE, related_name="receipts")
    key = models.CharField(max_length=300)
    fingerprint = models.CharField(max_length=64)
    run = models.ForeignKey(Run, null=True, on_delete=models.CASCADE, related_name="receipts")
    session = models.ForeignKey(Session, null=True, on_delete=models.CASCADE, related_name="receipts")
    duplicates = models.PositiveIntegerField(default=0)
    last_duplicate_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["connector", "key"], name="ingress_receipt_once"),
        ]
        indexes = [
            # retention: WHERE accepted_at < ?
            models.Index(fields=["accepted_at"], name="ingress_receipt_age"),
            # a connector's last event: WHERE connector_id = ? ORDER BY id DESC
            models.Index(fields=["connector", "-id"], name="ingress_receipt_last"),
        ]

    def __str__(self) -> str:
        return self.key


class BindingKey(models.Model):
    """A durable name of a conversation, bound to one session for good. Born by the first accepted event
    or, without a connector, by a submission that names it.

    ``digest`` is the SHA-256 of ``key``, which may be long. A key is never bound to another session.
    """

    digest = models.CharField(max_length=64, unique=True)
    key = models.TextField()
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="bindings")
    connector = models.ForeignKey(Connector, null=True, on_delete=models.SET_NULL, related_name="bindings")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.key[:80]


class IngressRefusal(models.Model):
    """How often a connector refused events for one reason, and when last: for people, never for rules."""

    connector = models.ForeignKey(Connector, on_delete=models.CASCADE, related_name="refusals")
    code = name_field(length=60)
    count = models.PositiveIntegerField(default=0)
    detail = models.CharField(max_length=500, blank=True, default="")
    last_at = models.DateTimeField()

    class Meta:
        ordering = ["connector", "code"]
        constraints = [
            models.UniqueConstraint(fields=["connector", "code"], name="ingress_refusal_once"),
        ]

    def __str__(self) -> str:
        return f"{self.code} x{self.count}"
