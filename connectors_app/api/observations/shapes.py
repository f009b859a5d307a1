"""Captures: bodies, queries, answers."""

from typing import Any, Final

from rest_framework import serializers

from connectors_app.models import ObservationKind, PurgeReason
from connectors_app.services.observations import schedules, selection, source_tokens
from sessions_app.api import limits
from sessions_app.api.serializers.base import (
    Choice,
    Flag,
    Identifier,
    JsonObject,
    List,
    Moment,
    PageQuery,
    StrictSerializer,
    Text,
    Whole,
)

POLICIES: Final = ("auto", "never", "always")
_LONGEST_LOOK_BACK: Final = 3_650 * 86_400
_MOST_TARGETS: Final = 20


class SourceChanges(StrictSerializer):
    """What may be written of a source; what is absent keeps its value."""

    sensitive = Flag(required=False, help_text="Viewers see neither metadata nor file of its observations.")
    retention_days = Whole(min_value=1, max_value=3_650, required=False)
    retention_count = Whole(min_value=1, max_value=1_000_000, required=False)
    retention_bytes = Whole(min_value=1, max_value=2**50, required=False)
    burst_count = Whole(min_value=1, max_value=100_000, required=False)
    burst_seconds = Whole(min_value=1, max_value=86_400, required=False)
    allow_raw_purge = Flag(required=False, help_text="An admin may purge an observation before its time.")
    allow_materialization = Flag(required=False, help_text="Agents may be shown its observations.")
    allow_output_delivery = Flag(required=False, help_text="What agents say of them may leave the service.")
    enabled = Flag(required=False)


class NewSource(SourceChanges):
    """A source to make."""

    source_id = Identifier(max_length=128)
    kind = Choice(choices=ObservationKind.values)


class RotateBody(StrictSerializer):
    """How long the tokens before still hold."""

    grace_period_ms = Whole(min_value=0, max_value=source_tokens.LONGEST_GRACE_MS, default=0)


class SourceTokenView(serializers.Serializer):
    """An upload token without its secret."""

    token_id = serializers.CharField()
    created_by = serializers.CharField(allow_blank=True)
    created_at = Moment()
    expires_at = Moment(required=False)
    last_used_at = Moment(required=False)


class SourceContent(serializers.Serializer):
    """What is kept of a source."""

    count = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    last_received_at = Moment(required=False)


class SourceView(serializers.Serializer):
    """A source without its tokens' secrets."""

    source_id = serializers.CharField()
    kind = Choice(choices=ObservationKind.values)
    sensitive = serializers.BooleanField()
    retention_days = serializers.IntegerField()
    retention_count = serializers.IntegerField()
    retention_bytes = serializers.IntegerField()
    burst_count = serializers.IntegerField()
    burst_seconds = serializers.IntegerField()
    allow_raw_purge = serializers.BooleanField()
    allow_materialization = serializers.BooleanField()
    allow_output_delivery = serializers.BooleanField()
    enabled = serializers.BooleanField()
    observations = SourceContent()
    tokens = SourceTokenView(many=True)
    revision = serializers.IntegerField()
    created_by = serializers.CharField(allow_blank=True)
    created_at = Moment()
    updated_at = Moment()


class NewSourceView(SourceView):
    """A source just made, with its first token."""

    token = serializers.CharField(help_text="Shown in this answer only.")


class RotatedView(SourceTokenView):
    """A token just made, with its secret."""

    source_id = serializers.CharField()
    token = serializers.CharField(help_text="Shown in this answer only.")


class RevokedView(serializers.Serializer):
    """How many tokens ended."""

    source_id = serializers.CharField()
    revoked = serializers.IntegerField()


class UploadFacts(StrictSerializer):
    """What a device says beside the file."""

    file_name = Text(max_length=200, required=False, allow_blank=True)
    stream_id = Identifier(max_length=128, required=False)
    capture_group_id = Identifier(max_length=128, required=False)
    captured_at = Moment(required=False)
    metadata = JsonObject(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Bound the metadata. Raises: PayloadTooLarge, BadRequest."""
        limits.check_metadata(attrs.get("metadata") or {})
        return attrs


class UploadBody(UploadFacts):
    """A file in Base64 and what the device says of it."""

    media_type = Text(max_length=100, required=False, allow_blank=True, default="")
    content_base64 = Text(allow_blank=True)  # an empty file is refused as one


class ObservationView(serializers.Serializer):
    """An observation; of a sensitive one viewers see that it is there (``withheld``)."""

    observation_id = serializers.CharField()
    source_id = serializers.CharField()
    kind = Choice(choices=ObservationKind.values)
    media_type = serializers.CharField()
    size_bytes = serializers.IntegerField()
    sensitive = serializers.BooleanField()
    withheld = serializers.BooleanField()
    file_name = serializers.CharField(required=False, allow_blank=True)
    metadata = JsonObject(required=False)
    asset_id = serializers.CharField(required=False)
    sha256 = serializers.CharField(required=False)
    stream_id = serializers.CharField(required=False)
    capture_group_id = serializers.CharField(required=False)
    captured_at = Moment()
    received_at = Moment()
    purged_at = Moment(required=False)
    purge_reason = Choice(choices=PurgeReason.values, required=False)


class ObservationQuery(PageQuery):
    """Filters of a source's observations."""

    include_purged = serializers.BooleanField(required=False, default=False)
    stream_id = Text(max_length=128, required=False)
    capture_group_id = Text(max_length=128, required=False)


class Selector(StrictSerializer):
    """Which observations: each type takes the members it is named after."""

    type = Choice(choices=tuple(selection.SELECTORS))
    observation_ids = List(child=Text(max_length=60), required=False, max_length=selection.MOST_OBSERVATIONS)
    source_id = Text(max_length=128, required=False)
    stream_id = Text(max_length=128, required=False)
    capture_group_id = Text(max_length=128, required=False)


class _Looking(StrictSerializer):
    session_id = Text(max_length=200)
    prompt = Text(max_length=20_000)
    max_observations = Whole(min_value=1, max_value=selection.MOST_OBSERVATIONS, default=3)
    lookback_seconds = Whole(
        min_value=0, max_value=_LONGEST_LOOK_BACK, default=0, help_text="Counted from receipt; 0 is any age."
    )
    raw_asset_policy = Choice(
        choices=POLICIES,
        default="auto",
        help_text="auto: the files still kept; never: only the facts; always: every file, or 409.",
    )
    fail_when_empty = Flag(default=True)
    reply_targets = List(child=JsonObject(), required=False, max_length=_MOST_TARGETS)


class MaterializeBody(_Looking):
    """Show observations to a session's agent."""

    selector = Selector()
    metadata = JsonObject(required=False)
    route_id = Text(max_length=200, required=False)
    model = Text(max_length=300, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Bound the metadata. Raises: PayloadTooLarge, BadRequest."""
        limits.check_metadata(attrs.get("metadata") or {})
        return attrs


class ScheduleBody(_Looking):
    """Show what is new of a source to a session's agent, every so often."""

    interval_seconds = Whole(min_value=schedules.SHORTEST_SECONDS, max_value=schedules.LONGEST_SECONDS)
    stream_id = Identifier(max_length=128, required=False)
    new_only = Flag(default=True, help_text="Only observations that no fire before has shown.")


class ScheduleView(serializers.Serializer):
    """A schedule and how it went last."""

    schedule_id = serializers.CharField()
    source_id = serializers.CharField()
    session_id = serializers.CharField()
    interval_seconds = serializers.IntegerField()
    prompt = serializers.CharField()
    stream_id = serializers.CharField(allow_blank=True)
    max_observations = serializers.IntegerField()
    lookback_seconds = serializers.IntegerField()
    raw_asset_policy = Choice(choices=POLICIES)
    fail_when_empty = serializers.BooleanField()
    new_only = serializers.BooleanField()
    explicit_targets = serializers.IntegerField()
    next_due_at = Moment()
    last_fired_at = Moment(required=False)
    last_run_id = serializers.CharField(required=False)
    last_outcome = serializers.CharField(required=False, help_text="`fired`, or the code of what refused it.")
    last_detail = serializers.CharField(required=False)
    created_by = serializers.CharField(allow_blank=True)
    created_at = Moment()
