"""Deliveries: bodies, queries, answers."""

from typing import Any

from rest_framework import serializers

from connectors_app.models import DeliveryDecision, DeliveryKind, DeliveryStatus
from connectors_app.services.deliveries.operate import IDEMPOTENCY_KEY
from sessions_app.api import limits
from sessions_app.api.serializers.base import (
    Choice,
    Flag,
    JsonObject,
    List,
    Moment,
    PageQuery,
    StrictSerializer,
    Text,
    Whole,
)
from sessions_app.services import inputs


class _Narrowing(serializers.Serializer):
    session_id = Text(required=False, max_length=200)
    run_id = Text(required=False, max_length=200)
    plugin = Text(required=False, max_length=40)
    target = Text(required=False, max_length=200, help_text="A target's shown name or digest.")


class DeadLetterQuery(_Narrowing, PageQuery):
    """Filters of the dead letters."""

    unresolved = serializers.BooleanField(required=False, help_text="Only what nobody has dealt with.")


class DeliveryQuery(DeadLetterQuery):
    """Filters of the list."""

    status = Choice(choices=DeliveryStatus.values, required=False)


class TargetQuery(PageQuery):
    """Filters of the targets."""

    plugin = Text(required=False, max_length=40)
    connector = Text(required=False, max_length=100)
    waiting = serializers.BooleanField(required=False, help_text="Only targets for which something waits.")


class OutputBody(StrictSerializer):
    """What is said: content, parts or both."""

    content = Text(required=False, allow_blank=True)
    parts = List(child=JsonObject(), required=False, max_length=50)
    attachments = List(
        child=Text(max_length=60), required=False, max_length=50, help_text="Ids of stored assets."
    )
    metadata = JsonObject(
        required=False,
        help_text=f"`{IDEMPOTENCY_KEY}`, a text, names the message: a target gets it once.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require something to say, and a name that is a text. Raises: ValidationError, PayloadTooLarge."""
        if not attrs.get("content", "").strip() and not attrs.get("parts") and not attrs.get("attachments"):
            raise serializers.ValidationError("give content, parts or attachments")
        inputs.check_text([attrs.get("content", "")])
        limits.check_metadata(attrs.get("metadata") or {})
        name = attrs.get("metadata", {}).get(IDEMPOTENCY_KEY, "-")
        if not isinstance(name, str) or not name.strip():
            raise serializers.ValidationError({"metadata": {IDEMPOTENCY_KEY: "must be a text and not blank"}})
        return attrs


class NewDeliveryBody(StrictSerializer):
    """A delivery by hand."""

    session_id = Text(max_length=200)
    output = OutputBody()
    handle = JsonObject(help_text="A reply target, raw or tagged with type.")


class ReplayBody(StrictSerializer):
    """``force`` makes another replay though there is one."""

    force = Flag(default=False)


class ResolveBody(StrictSerializer):
    """Why the dead letter needs no more attention."""

    reason = Text(max_length=512, required=False, allow_blank=True, default="")


class DecideBody(StrictSerializer):
    """What came of it: happened, not_happened (it is sent again), give_up."""

    outcome = Choice(choices=DeliveryDecision.values)
    reason = Text(max_length=512, required=False, allow_blank=True, default="")


class BulkReplayBody(_Narrowing, StrictSerializer):
    """Which dead letters; ``dry_run`` only says what would happen."""

    dry_run = Flag(default=False)
    force = Flag(default=False)
    unresolved_only = Flag(default=True)
    limit = Whole(min_value=1, max_value=500, default=100)


class ResetBody(StrictSerializer):
    """Whose failures are forgotten: a target, a plugin's targets; one of both is required."""

    target = Text(max_length=200, required=False)
    plugin = Text(max_length=40, required=False)
    dry_run = Flag(default=False)


class DeliveryError(serializers.Serializer):
    """Why an attempt failed."""

    error_class = serializers.CharField()
    message = serializers.CharField(allow_blank=True)


class DeliveryView(serializers.Serializer):
    """One output for one target. The address is never shown."""

    delivery_id = serializers.CharField()
    session_id = serializers.CharField()
    thread_id = serializers.CharField(required=False)
    run_id = serializers.CharField(required=False)
    kind = serializers.ChoiceField(choices=DeliveryKind.values)
    plugin = serializers.CharField()
    target = serializers.CharField()
    status = serializers.ChoiceField(choices=DeliveryStatus.values)
    attempts = serializers.IntegerField()
    next_attempt_at = Moment(required=False)
    last_error = DeliveryError(required=False)
    terminal_error = DeliveryError(required=False)
    reference = serializers.CharField(required=False)
    content_size_bytes = serializers.IntegerField()
    parts_count = serializers.IntegerField()
    artifacts_count = serializers.IntegerField()
    created_at = Moment()
    attempted_at = Moment(required=False)
    delivered_at = Moment(required=False)
    dead_lettered_at = Moment(required=False)
    decision = serializers.ChoiceField(choices=DeliveryDecision.values, required=False)
    resolved_at = Moment(required=False)
    resolved_by = serializers.CharField(required=False)
    resolution_reason = serializers.CharField(required=False)
    replayed_from_delivery_id = serializers.CharField(required=False)


class DeliveryDetail(DeliveryView):
    """With what it says, for operators."""

    content = serializers.CharField(required=False, allow_blank=True)
    parts = serializers.ListField(child=serializers.DictField(), required=False)
    attachments = serializers.ListField(child=serializers.CharField(), required=False)
    metadata = serializers.DictField(required=False)


class NewDeliveryView(serializers.Serializer):
    """What was queued."""

    deliveries = DeliveryView(many=True)


class BulkReplayItem(serializers.Serializer):
    """What came of one dead letter."""

    delivery_id = serializers.CharField()
    action = serializers.ChoiceField(choices=["would_replay", "replayed", "existing_replay"])
    replay_delivery_id = serializers.CharField(required=False)


class BulkReplayView(serializers.Serializer):
    """What came of all."""

    dry_run = serializers.BooleanField()
    items = BulkReplayItem(many=True)


class TargetView(serializers.Serializer):
    """A target and its queue. The address is never shown."""

    digest = serializers.CharField()
    target = serializers.CharField()
    plugin = serializers.CharField()
    connector = serializers.CharField(required=False)
    queued = serializers.IntegerField()
    sending = serializers.BooleanField()
    consecutive_failures = serializers.IntegerField()
    paused = serializers.BooleanField()
    created_at = Moment()
    next_at = Moment(required=False)
    circuit_open_until = Moment(required=False)
    last_attempt_at = Moment(required=False)
    paused_at = Moment(required=False)
    paused_by = serializers.CharField(required=False)


class ResetView(serializers.Serializer):
    """Targets whose failures were, or would be, forgotten."""

    dry_run = serializers.BooleanField()
    targets = TargetView(many=True)
