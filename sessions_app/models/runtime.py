"""The daemon's own settings, and the workers that serve it."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models.functions import Now

from sessions_app.models.base import JSONObject, name_field


class RuntimeRevision(models.Model):
    """One version of the live settings; the newest is in force, older ones are history."""

    revision = models.PositiveIntegerField(unique=True)
    setting = name_field(length=40)
    values = JSONObject()
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-revision"]

    def __str__(self) -> str:
        return f"r{self.revision} {self.setting}"


class WorkerRows(models.QuerySet["Worker"]):
    """Rows of workers."""

    def heard(self) -> "WorkerRows":
        """Read the time with them, by the clock that their heartbeats are of: the database's."""
        return self.annotate(read_at=Now())


class Worker(models.Model):
    """One worker process. Born at its start, refreshed by its heartbeat, removed when it has left.

    ``host``, ``pid`` and ``pid_started`` (clock ticks since boot) name a process exactly, so that a
    restart on the same host knows which leases belong to the dead.
    """

    name = name_field(unique=True, length=120)
    host = name_field()
    pid = models.IntegerField()
    pid_started = name_field(length=40)
    slots = models.PositiveIntegerField(default=0)
    draining = models.BooleanField(default=False)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(db_index=True)
    read_at: datetime  # of a row that ``heard`` read

    objects = WorkerRows.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def silent_for(self) -> timedelta:
        """How old its heartbeat was when the row was read. Needs ``heard``."""
        return self.read_at - self.heartbeat_at


class TickLease(models.Model):
    """Who does a piece of periodic work now; one row a name."""

    name = name_field(unique=True)
    owner = name_field(length=120, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name
