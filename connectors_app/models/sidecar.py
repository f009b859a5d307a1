"""Sidecars: what is known of the process behind an external connector, and what it may read."""

from django.db import models

from connectors_app.models.connector import Connector
from sessions_app.models.base import JSONObject, name_field


class SidecarStatus(models.TextChoices):
    """Where a supervised sidecar stands. ``failed`` is tried again too, only as rarely as we wait at most."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    FAILED = "failed"
    STOPPED = "stopped"


class SidecarState(models.Model):
    """What was last seen of a connector's sidecar: for views, and for the instance check of its events.

    Born when a worker first starts the process or first reads the manifest of a remote one; written by the
    worker that supervises it, goes with its connector. ``status`` is "" for a process that is not ours.
    """

    connector = models.OneToOneField(Connector, on_delete=models.CASCADE, related_name="sidecar")
    status = models.CharField(max_length=10, choices=SidecarStatus.choices, blank=True, default="")
    instance_id = name_field(blank=True, default="")
    manifest = JSONObject()
    last_error = models.CharField(max_length=500, blank=True, default="")
    restarts = models.PositiveIntegerField(default=0)
    worker = name_field(blank=True, default="")
    pid = models.PositiveIntegerField(default=0)
    since = models.DateTimeField()

    class Meta:
        ordering = ["connector"]

    def __str__(self) -> str:
        return f"{self.connector_id}: {self.status or 'remote'}"


class ConnectorLease(models.Model):
    """The right of one child process to read the credentials it was started with. Born before each start.

    Of the token only the SHA-256 is kept. ``slots`` maps the environment keys to the slots they meant at the
    start. The supervisor renews it while the process lives and revokes it when it does not.
    """

    lease_id = name_field(unique=True, length=40)
    grant_id = name_field(length=40)
    connector = models.ForeignKey(Connector, on_delete=models.CASCADE, related_name="leases")
    token_hash = models.CharField(max_length=64, unique=True)
    slots = JSONObject()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            # what still works, and what may be forgotten: WHERE connector_id = ? AND expires_at ...
            models.Index(fields=["connector", "expires_at"], name="connector_lease_life"),
        ]

    def __str__(self) -> str:
        return self.lease_id
