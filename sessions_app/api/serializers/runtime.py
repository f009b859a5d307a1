"""The daemon's live settings, permission explanations and its state."""

from rest_framework import serializers

from sessions_app.api.serializers.base import (
    Choice,
    JsonObject,
    Moment,
    StrictSerializer,
    Text,
    Whole,
)
from sessions_app.api.serializers.fields import ModeChoice, Rules
from sessions_app.api.serializers.routes import RouteView
from sessions_app.models import UnknownEffects


class Revisioned(StrictSerializer):
    """``expected_revision`` refuses the change when somebody else changed the settings since."""

    expected_revision = Whole(min_value=0, max_value=2**31 - 1, required=False)


class ModelBody(Revisioned):
    """The daemon's default route and its model; ``provider`` is another word for ``route_id``."""

    route_id = Text(max_length=200, required=False)
    provider = Text(max_length=200, required=False)
    model = Text(max_length=200, required=False)

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Join the two words for a route. Raises: ValidationError."""
        provider = attrs.pop("provider", None)
        if provider is not None and attrs.setdefault("route_id", provider) != provider:
            raise serializers.ValidationError({"provider": ["names another route than route_id"]})
        if "route_id" not in attrs and "model" not in attrs:
            raise serializers.ValidationError("give route_id, model or both")
        return attrs


class ModeBody(Revisioned):
    """The daemon's permission mode."""

    mode = ModeChoice()


class RulesBody(Revisioned):
    """Permission rules of the project and the user scope; an absent scope stays as it is."""

    project = Rules(required=False)
    user = Rules(required=False)

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Require one of them. Raises: ValidationError."""
        if "project" not in attrs and "user" not in attrs:
            raise serializers.ValidationError("give project, user or both")
        return attrs


class SystemPromptSettings(StrictSerializer):
    """``override_prompt`` replaces everything; the other two surround what a persona says."""

    override_prompt = Text(max_length=100_000, required=False, allow_blank=True, allow_null=True)
    custom_prompt = Text(max_length=100_000, required=False, allow_blank=True, allow_null=True)
    append_prompt = Text(max_length=100_000, required=False, allow_blank=True, allow_null=True)


class SystemPromptBody(Revisioned):
    """All prompt settings; an absent one becomes empty."""

    settings = SystemPromptSettings()


class RuntimeUnknownEffectsBody(Revisioned):
    """What an effect of unknown outcome does in new sessions."""

    mode = Choice(choices=UnknownEffects.values)


class RollbackBody(Revisioned):
    """Which revision's settings to put in force again; by default those before the last change."""

    target_revision = Whole(min_value=0, max_value=2**31 - 1, required=False)


class PromptView(serializers.Serializer):
    """The prompt settings."""

    override_prompt = serializers.CharField()
    custom_prompt = serializers.CharField()
    append_prompt = serializers.CharField()


class ScopedRules(serializers.Serializer):
    """Rules by scope."""

    project = serializers.ListField(child=JsonObject())
    user = serializers.ListField(child=JsonObject())


class ConfigView(serializers.Serializer):
    """Which revision is in force."""

    revision = serializers.IntegerField()
    updated_at = Moment(required=False)


class RuntimeView(serializers.Serializer):
    """The live settings."""

    default_route = serializers.CharField(allow_null=True)
    provider = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    permission_mode = ModeChoice()
    permission_rules = ScopedRules()
    unknown_effects = Choice(choices=UnknownEffects.values)
    system_prompt = PromptView()
    routes = RouteView(many=True)
    config = ConfigView()


class RuntimeRevisionView(serializers.Serializer):
    """One revision."""

    revision = serializers.IntegerField()
    setting = serializers.CharField()
    values = JsonObject()
    created_by = serializers.CharField()
    created_at = Moment()
    rollback_of_revision = serializers.IntegerField(required=False)


class CheckBody(StrictSerializer):
    """A call to explain."""

    tool_name = Text(max_length=128)
    input = JsonObject(required=False)
    tool_call_id = Text(max_length=200, required=False)
    session_id = Text(max_length=200, required=False)
    mode_override = ModeChoice(required=False)


class MatrixBody(StrictSerializer):
    """Whose rules to explain; without a session, the daemon's."""

    session_id = Text(max_length=200, required=False)


class DecisionExplained(serializers.Serializer):
    """What would happen with a call, and why."""

    decision = Choice(choices=("allow", "deny", "ask"))
    base_decision = Choice(choices=("allow", "deny", "ask"))
    effective_mode = ModeChoice()
    mode_effect = serializers.CharField()
    matched_rule_pattern = serializers.CharField()
    matched_rule_origin = serializers.CharField()
    matched_rule_scope = serializers.CharField()
    reason = serializers.CharField()
    required_votes = serializers.IntegerField()
    roles = serializers.ListField(child=serializers.CharField())
    requester_may_vote = serializers.BooleanField()
    expires_after_seconds = serializers.IntegerField(allow_null=True)


class CheckView(DecisionExplained):
    """The explanation of one call."""

    tool_name = serializers.CharField()
    known_tool = serializers.BooleanField()
    input_problems = serializers.ListField(child=serializers.CharField())
    tool_call_id = serializers.CharField(required=False)
    session_id = serializers.CharField(required=False)
    hooks_evaluated = serializers.BooleanField()
    hook_policy = serializers.CharField()


class MatrixView(serializers.Serializer):
    """Every tool in every mode: ``{tool: {mode: explanation}}``."""

    session_id = serializers.CharField(required=False)
    effective_mode = ModeChoice()
    tools = serializers.DictField(child=serializers.DictField(child=DecisionExplained()))
    hooks_evaluated = serializers.BooleanField()
    hook_policy = serializers.CharField()


class WarningView(serializers.Serializer):
    """Something to look at."""

    severity = Choice(choices=("warning", "error"))
    code = serializers.CharField()
    message = serializers.CharField()
    action = serializers.CharField()


class HealthView(serializers.Serializer):
    """Whether anything needs a look."""

    ok = serializers.BooleanField()
    warnings = WarningView(many=True)


class WorkerView(serializers.Serializer):
    """One worker process."""

    name = serializers.CharField()
    host = serializers.CharField()
    pid = serializers.IntegerField()
    slots = serializers.IntegerField()
    draining = serializers.BooleanField()
    alive = serializers.BooleanField()
    started_at = Moment()
    heartbeat_at = Moment()


class StatusRuntime(serializers.Serializer):
    """The live settings in short."""

    default_route = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    permission_mode = ModeChoice()
    revision = serializers.IntegerField()


class ReadinessView(serializers.Serializer):
    """Whether the default route can be called."""

    status = Choice(choices=("ok", "error"))
    problems = serializers.ListField(child=serializers.CharField())


class StatusView(serializers.Serializer):
    """The state of the installation."""

    status = Choice(choices=("ready", "draining"))
    ready = serializers.BooleanField()
    version = serializers.CharField()
    profile = Choice(choices=("embedded", "services"))
    state_dir = serializers.CharField()
    uptime_seconds = serializers.IntegerField()
    runs = serializers.DictField(child=serializers.IntegerField())
    waiting = serializers.DictField(child=serializers.IntegerField())
    workers = WorkerView(many=True)
    runtime = StatusRuntime()
    provider_readiness = ReadinessView()
    health = HealthView()
    time = Moment()
    connectors = serializers.DictField(
        child=serializers.IntegerField(), required=False, help_text="Those that are switched on."
    )
    deliveries = serializers.DictField(
        child=serializers.IntegerField(), required=False, help_text="Only what is unresolved is trouble."
    )


class CapabilitiesView(serializers.Serializer):
    """What this version can do; members beside these are features, true or false."""

    control_plane_version = serializers.CharField()
    api_revision = serializers.IntegerField()
    route_capability_matrix_version = serializers.IntegerField()
