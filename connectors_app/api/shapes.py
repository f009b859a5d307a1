"""Connectors: bodies and answers."""

from rest_framework import serializers

from sessions_app.api.serializers.base import (
    Choice,
    Flag,
    JsonObject,
    Moment,
    PageQuery,
    StrictSerializer,
    Text,
)


class ConnectorBody(StrictSerializer):
    """What may be written of a connector; what is absent keeps its stored value.

    A secret is ``{"value": …}`` (kept sealed, never read back), ``{"secret_ref": SLOT}``, ``{"env": NAME}``,
    or null to take it away.
    """

    settings = JsonObject(required=False)
    secrets = JsonObject(required=False)


class ConnectorQuery(PageQuery):
    """Filters of the list."""

    kind = Text(required=False, max_length=40)


class TestBody(StrictSerializer):
    """``dry_run`` only says where the event would go; ``event`` is what a sender would say."""

    dry_run = Flag(default=False)
    event = JsonObject(required=False)


class Refusals(serializers.Serializer):
    """Events refused for one reason."""

    code = serializers.CharField()
    count = serializers.IntegerField()
    detail = serializers.CharField(allow_blank=True)
    last_at = Moment()


class Activity(serializers.Serializer):
    """What came in: counts of the last ``window_seconds``, refusals of all time."""

    window_seconds = serializers.IntegerField()
    accepted_events = serializers.IntegerField()
    duplicate_events = serializers.IntegerField()
    refused_events = serializers.IntegerField()
    last_event_at = Moment(allow_null=True)
    refusals = Refusals(many=True)


class ConnectorView(serializers.Serializer):
    """A connector without its secrets."""

    kind = serializers.CharField()
    name = serializers.CharField()
    source = Choice(choices=("file", "daemon"))  # type: ignore[assignment]  # a field's name in DRF too
    status = Choice(choices=("ok", "paused", "disabled", "error"))
    problems = serializers.ListField(child=serializers.CharField())
    settings = JsonObject()
    secrets = JsonObject()
    enabled = serializers.BooleanField()
    paused_at = Moment(allow_null=True)
    activity = Activity()
    revision = serializers.IntegerField()
    created_at = Moment()
    updated_at = Moment()


class TestView(serializers.Serializer):
    """Where a test event went, or would go."""

    session_id = serializers.CharField()
    found_by = serializers.CharField()
    run_id = serializers.CharField(required=False)


class ReloadView(serializers.Serializer):
    """What loading the file changed, as ``kind/name``."""

    file = serializers.CharField(help_text="The file that is in force; empty where none is configured.")
    written = serializers.ListField(child=serializers.CharField())
    removed = serializers.ListField(child=serializers.CharField())
