"""Secret slots and API tokens."""

from rest_framework import serializers

from sessions_app.api.serializers.base import Choice, Identifier, List, Moment, StrictSerializer, Text
from sessions_app.models import Right, Role
from sessions_app.services.secrets import LARGEST_VALUE


class SecretBody(StrictSerializer):
    """A slot to fill, or to rotate."""

    slot_id = Identifier()
    provider = Text(max_length=200, required=False, allow_blank=True)
    value = Text(max_length=LARGEST_VALUE, write_only=True, help_text="Never shown again, in any form.")
    mode = Choice(choices=("api_key", "opaque_secret"), required=False)


class SecretView(serializers.Serializer):
    """A slot without its value."""

    slot_id = serializers.CharField()
    provider = serializers.CharField()
    mode = serializers.CharField()
    state = Choice(choices=("stored", "unreadable"))
    revision = serializers.IntegerField()
    referenced_by = serializers.ListField(child=serializers.CharField())
    created_at = Moment()
    updated_at = Moment()


class TokenBody(StrictSerializer):
    """A token to make."""

    name = Identifier()
    role = Choice(choices=Role.values)
    rights = List(
        child=Choice(choices=Right.values),
        required=False,
        max_length=20,
        help_text="What an operator's token may do beside its role; an admin's may do it all.",
    )
    expires_at = Moment(required=False)


class TokenView(serializers.Serializer):
    """A token without its secret."""

    token_id = serializers.CharField()
    name = serializers.CharField()
    role = Choice(choices=Role.values)
    rights = serializers.ListField(child=Choice(choices=Right.values))
    status = Choice(choices=("active", "expired", "revoked"))
    created_by = serializers.CharField()
    created_at = Moment()
    expires_at = Moment(required=False)
    last_used_at = Moment(required=False)
    revoked_at = Moment(required=False)


class NewTokenView(TokenView):
    """A token just made, with its secret."""

    token = serializers.CharField(help_text="Shown in this answer only.")
