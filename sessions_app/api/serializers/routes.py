"""Routes."""

from rest_framework import serializers

from sessions_app.api.serializers.base import (
    Choice,
    Flag,
    Identifier,
    JsonObject,
    List,
    Moment,
    StrictSerializer,
    Text,
)


class RouteChanges(StrictSerializer):
    """What may be written of a route; absent members stay as they are."""

    driver = Text(max_length=40, required=False)
    model = Text(max_length=200, required=False, allow_blank=True)
    base_url = Text(max_length=500, required=False, allow_blank=True)
    auth_ref = Text(
        max_length=200, required=False, allow_blank=True, help_text="The slot with its credential."
    )
    fallbacks = List(child=Text(max_length=200), max_length=20, required=False)
    options = JsonObject(required=False)
    default = Flag(required=False)


class NewRoute(RouteChanges):
    """A route to make; the first one becomes the default."""

    route_id = Identifier()
    driver = Text(max_length=40)


class RouteView(serializers.Serializer):
    """A route and whether it can be called."""

    route_id = serializers.CharField()
    driver = serializers.CharField()
    base_url = serializers.CharField()
    model = serializers.CharField()
    auth_ref = serializers.CharField()
    fallbacks = serializers.ListField(child=serializers.CharField())
    default = serializers.BooleanField()
    options = JsonObject()
    status = Choice(
        choices=("ok", "warning", "error"),
        help_text="`error`: it cannot be called; `warning`: something of it has no effect.",
    )
    problems = serializers.ListField(child=serializers.CharField())
    revision = serializers.IntegerField()
    created_at = Moment()
    updated_at = Moment()
