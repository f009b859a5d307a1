"""Personas."""

from rest_framework import serializers

from sessions_app.api.serializers.base import (
    Choice,
    Identifier,
    JsonObject,
    List,
    Moment,
    PageQuery,
    StrictSerializer,
    Text,
)

STATUSES = ("active", "draining", "retired")


class PersonaChanges(StrictSerializer):
    """What may be written of a persona; absent members stay as they are."""

    display_name = Text(max_length=200, required=False)
    owner = Text(max_length=200, required=False, allow_blank=True)
    soul = Text(max_length=200_000, required=False, allow_blank=True)
    capability_scope = JsonObject(required=False)
    default_skills = List(child=Text(max_length=200), max_length=200, required=False)
    metadata = JsonObject(required=False)


class NewPersona(PersonaChanges):
    """A persona to make."""

    persona_id = Identifier()


class PersonaQuery(PageQuery):
    """Which personas."""

    query = Text(required=False, max_length=200, help_text="A part of the id or the display name.")


class PersonaRevisionView(serializers.Serializer):
    """One revision."""

    revision = serializers.IntegerField()
    display_name = serializers.CharField()
    status = Choice(choices=STATUSES)
    sessions = serializers.IntegerField(help_text="Sessions that bind it and have not ended.")
    created_by = serializers.CharField()
    created_at = Moment()


class PersonaView(serializers.Serializer):
    """A persona with its current revision."""

    persona_id = serializers.CharField()
    display_name = serializers.CharField()
    owner = serializers.CharField()
    revision = serializers.IntegerField()
    soul = serializers.CharField()
    status = Choice(choices=STATUSES)
    capability_scope = JsonObject()
    default_skills = serializers.ListField(child=serializers.CharField())
    metadata = JsonObject()
    revisions = PersonaRevisionView(many=True)
    sessions = serializers.IntegerField()
    created_at = Moment()
    updated_at = Moment()
    retired_at = Moment(required=False)
