"""The audit log: what people and tokens changed outside any session, and what they looked at unmasked."""

from typing import Any, NoReturn

from django.db import models

from sessions_app.models.base import JSONObject, name_field


class AppendOnly(models.QuerySet["AuditEntry"]):
    """Rows that are read and added, and nothing else."""

    def update(self, **values: Any) -> NoReturn:
        """Refuse. Raises: TypeError."""
        raise TypeError("the audit log is append-only")


class AuditEntry(models.Model):
    """One deed. Born in the transaction of the change it tells of, never changed.

    What happens to a session, a run or an approval is in the session's journal and not here. ``before`` and
    ``after`` hold what changed, redacted; a secret's value is in neither. Names are text and not foreign
    keys: the log outlives the rows. Kept for ``KHEISH_KEEP_AUDIT_DAYS``.
    """

    entry_id = name_field(unique=True, length=40)
    at = models.DateTimeField()
    principal = name_field(blank=True, default="")
    role = name_field(blank=True, default="", length=10)
    auth_method = name_field(blank=True, default="", length=30)
    remote_addr = name_field(blank=True, default="", length=64)
    request_id = name_field(blank=True, default="", length=64)
    action = name_field(length=60)
    object_kind = name_field(length=40)
    object_id = name_field(length=240)
    before = JSONObject()
    after = JSONObject()
    reason = models.CharField(max_length=1000, blank=True, default="")

    objects = AppendOnly.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            # one object's history: WHERE object_kind = ? AND object_id = ? ORDER BY id DESC
            models.Index(fields=["object_kind", "object_id", "-id"], name="audit_object"),
            # what one person did: WHERE principal = ? ORDER BY id DESC
            models.Index(fields=["principal", "-id"], name="audit_principal"),
            # one kind of deed: WHERE action = ? ORDER BY id DESC
            models.Index(fields=["action", "-id"], name="audit_action"),
            # retention: WHERE at < ?
            models.Index(fields=["at"], name="audit_age"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; a second time is refused. Raises: TypeError."""
        if self.pk is not None:
            raise TypeError("the audit log is append-only")
        super().save(*args, **kwargs)

    def __str__(self) -> str:
        return f"{self.action} {self.object_id} by {self.principal or 'the daemon'}"
