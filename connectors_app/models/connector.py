"""Connectors: transport definitions, and the people they know."""

from django.db import models

from sessions_app.models import Role
from sessions_app.models.base import JSONObject, name_field


class ConnectorSource(models.TextChoices):
    """Who owns a definition: the connectors file, read at start and when it changes, or the API."""

    FILE = "file"
    DAEMON = "daemon"


class Connector(models.Model):
    """One transport definition, named by kind and name. Born by PUT or by the file; removed by either.

    A removed one keeps its row, so that its receipts still know a repeat when it comes back.

    Read from its row for every event, so a change holds from the next event on. ``settings`` are checked by
    its kind; ``secrets`` maps a field to where its value is: ``{"slot": ID, "origin": inline | secret_ref}``
    or ``{"env": NAME}``, never the value. ``revision`` rises with each change.
    """

    kind = name_field(length=40)
    name = name_field(length=100)
    source = models.CharField(max_length=10, choices=ConnectorSource.choices, default=ConnectorSource.DAEMON)
    settings = JSONObject()
    secrets = JSONObject()
    enabled = models.BooleanField(default=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = name_field(blank=True, default="")
    revision = models.PositiveIntegerField(default=1)
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["kind", "name"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], name="connector_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class ChatIdentity(models.Model):
    """A person of a platform, mapped to a principal: what lets a chat button decide. Written by an admin."""

    connector = models.ForeignKey(Connector, on_delete=models.CASCADE, related_name="identities")
    external_id = name_field()
    principal = name_field()
    role = models.CharField(max_length=10, choices=Role.choices)
    created_by = name_field(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["connector", "external_id"]
        verbose_name_plural = "chat identities"
        constraints = [
            models.UniqueConstraint(fields=["connector", "external_id"], name="chat_identity_once"),
        ]

    def __str__(self) -> str:
        return f"{self.external_id} is {self.principal}"
