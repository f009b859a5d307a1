"""Sessions: bodies, queries, answers."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from sessions_app.api.limits import check_setting
from sessions_app.api.serializers.base import (
    Choice,
    Flag,
    JsonObject,
    List,
    PageQuery,
    StrictSerializer,
    Text,
)
from sessions_app.api.serializers.fields import (
    CapabilityScope,
    CredentialScope,
    ModeChoice,
    RoutePolicy,
    Rules,
)
from sessions_app.models import UnknownEffects
from sessions_app.services.projections import SESSION_STATUSES


@extend_schema_field(
    {
        "type": "array",
        "maxItems": 20,
        "items": {
            "type": "object",
            "description": (
                'Raw ({"plugin", "address"}) or tagged: type raw, external, telegram, slack, http or daemon, '
                "with the members of the address beside it."
            ),
            "additionalProperties": {},
        },
    }
)
class ReplyTargets(List):
    """Where answers go besides the session's own outputs; captured by each run when it is created."""

    child = JsonObject()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 20, **kwargs})


class NewSessionBody(StrictSerializer):
    """Everything has a default; without ``session_id`` the service makes one."""

    session_id = Text(max_length=1000, required=False)  # the service has the rule and its own code
    thread_id = Text(max_length=200, required=False, allow_blank=True, allow_null=True)
    persona_id = Text(max_length=200, required=False, allow_null=True)
    permission_mode = ModeChoice(required=False, allow_null=True)
    permission_rules = Rules(required=False)
    route_policy = RoutePolicy(required=False, allow_null=True)
    unknown_effects = Choice(choices=UnknownEffects.values, required=False)
    capability_scope = CapabilityScope(required=False, allow_null=True)
    credential_scope = CredentialScope(required=False, allow_null=True)
    reply_targets = ReplyTargets(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return what was said; null says nothing. Raises: PayloadTooLarge."""
        said = {name: value for name, value in attrs.items() if value is not None}
        for name in (
            "permission_rules",
            "route_policy",
            "capability_scope",
            "credential_scope",
            "reply_targets",
        ):
            check_setting(name, said.get(name))
        return said


class ReplyTargetsBody(StrictSerializer):
    """The defaults, whole."""

    reply_targets = ReplyTargets()
    pinned = Flag(required=False, help_text="True keeps connectors from changing them.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises: PayloadTooLarge."""
        check_setting("reply_targets", attrs["reply_targets"])
        return attrs


class AddedReplyTargetsBody(StrictSerializer):
    """What is added to the defaults."""

    reply_targets = ReplyTargets(min_length=1)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises: PayloadTooLarge."""
        check_setting("reply_targets", attrs["reply_targets"])
        return attrs


class GrantBody(StrictSerializer):
    """A tool to allow for one session."""

    tool_name = Text(max_length=128)
    reason = Text(max_length=500, required=False, allow_blank=True, default="")


class Grant(serializers.Serializer):
    """One tool that runs unasked."""

    tool_name = serializers.CharField()
    granted_by = serializers.CharField()
    reason = serializers.CharField()


class GrantsView(serializers.Serializer):
    """What a session may do unasked by grants; rules may allow more."""

    items = Grant(many=True)


class ReasonBody(StrictSerializer):
    """Why, for the journal."""

    reason = Text(max_length=500, required=False, allow_blank=True, default="")


class RoutePolicyBody(StrictSerializer):
    """Null clears it."""

    route_policy = RoutePolicy(allow_null=True)


class PersonaBody(StrictSerializer):
    """Null clears the binding."""

    persona_id = Text(max_length=200, allow_null=True)


class PermissionModeBody(StrictSerializer):
    """Null follows the daemon's mode again."""

    permission_mode = ModeChoice(allow_null=True)


class PermissionRulesBody(StrictSerializer):
    """The session's own rules, whole."""

    permission_rules = Rules()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises: PayloadTooLarge."""
        check_setting("permission_rules", attrs["permission_rules"])
        return attrs


class CapabilityScopeBody(StrictSerializer):
    """Null clears it: the persona's scope, if it has one, holds alone."""

    capability_scope = CapabilityScope(allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises: PayloadTooLarge."""
        check_setting("capability_scope", attrs["capability_scope"])
        return attrs


class CredentialScopeBody(StrictSerializer):
    """Null clears it."""

    credential_scope = CredentialScope(allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises: PayloadTooLarge."""
        check_setting("credential_scope", attrs["credential_scope"])
        return attrs


class UnknownEffectsBody(StrictSerializer):
    """``ask`` an operator, or ``tell`` the agent that the outcome is unknown."""

    unknown_effects = Choice(choices=UnknownEffects.values)


class SessionQuery(PageQuery):
    """Filters of the session list."""

    persona_id = Text(required=False, max_length=200)
    status = Choice(choices=SESSION_STATUSES, required=False)
    q = Text(required=False, max_length=200, help_text="Part of the session's or the thread's id.")


class BoundPersona(serializers.Serializer):
    """A persona revision as a snapshot; never its soul."""

    persona_id = serializers.CharField()
    revision = serializers.IntegerField()
    display_name = serializers.CharField()
    bound_at = serializers.DateTimeField(required=False)


class Todo(serializers.Serializer):
    """One line of the agent's plan."""

    id = serializers.CharField(required=False)
    content = serializers.CharField()
    completed = serializers.BooleanField(required=False)


class SessionView(serializers.Serializer):
    """A session."""

    session_id = serializers.CharField()
    status = serializers.ChoiceField(choices=SESSION_STATUSES)
    thread_id = serializers.CharField(required=False)
    persona = BoundPersona(required=False)
    active_run_id = serializers.CharField(required=False)
    route_policy = serializers.DictField()
    permission_mode = serializers.CharField(allow_null=True, help_text="Null follows the daemon's mode.")
    permission_rules = serializers.ListField(child=serializers.DictField())
    unknown_effects = serializers.ChoiceField(choices=UnknownEffects.values)
    capability_scope = serializers.DictField()
    effective_capability_scope = serializers.DictField(
        help_text="With the scope of the bound persona: what both allow, and all that either denies."
    )
    credential_scope = serializers.DictField()
    effective_credential_scope = serializers.DictField(
        help_text="Connectors that are listed without their credentials have none."
    )
    reply_targets = serializers.ListField(child=serializers.DictField())
    reply_targets_pinned = serializers.BooleanField(
        required=False, help_text="True keeps connectors from changing the reply targets."
    )
    queued_runs = serializers.IntegerField()
    pending_approvals = serializers.IntegerField()
    pending_questions = serializers.IntegerField()
    pending_decisions = serializers.IntegerField()
    next_seq = serializers.IntegerField()
    todos = Todo(many=True)
    workspace = serializers.CharField(help_text="The session's folder on the service's machine.")
    revision = serializers.IntegerField(help_text="Of the settings; also the ETag.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(required=False)
    end_reason = serializers.CharField(required=False)


class ReplyTargetsView(serializers.Serializer):
    """Where future runs answer to; header values and the queries of URLs are masked."""

    session_id = serializers.CharField()
    reply_targets = serializers.ListField(child=serializers.DictField())
    pinned = serializers.BooleanField()
    revision = serializers.IntegerField(help_text="Of the session's settings; also the ETag.")


class Interruption(serializers.Serializer):
    """Whether there was a run to interrupt."""

    interrupted = serializers.BooleanField()
    run_id = serializers.CharField(required=False)
    session = SessionView()


class JournalVerdict(serializers.Serializer):
    """What recomputing the whole hash chain found."""

    session_id = serializers.CharField()
    valid = serializers.BooleanField()
    entries = serializers.IntegerField()
    head = serializers.CharField()
    broken_at = serializers.IntegerField(required=False)
    problem = serializers.CharField(required=False)


class AuditView(serializers.Serializer):
    """The permission decision about one tool call, and the state of the call."""

    run_id = serializers.CharField()
    call_id = serializers.CharField()
    tool_name = serializers.CharField()
    digest = serializers.CharField()
    state = serializers.CharField()
    at = serializers.DateTimeField()
    decision = serializers.CharField(required=False)
    base_decision = serializers.CharField(required=False)
    effective_mode = serializers.CharField(required=False)
    mode_effect = serializers.CharField(required=False, allow_blank=True)
    matched_rule_pattern = serializers.CharField(required=False, allow_blank=True)
    matched_rule_origin = serializers.CharField(required=False, allow_blank=True)
    matched_rule_scope = serializers.CharField(required=False, allow_blank=True)
    reason = serializers.CharField(required=False, allow_blank=True)
    required_votes = serializers.IntegerField(required=False)
    roles = serializers.ListField(child=serializers.CharField(), required=False)
    requester_may_vote = serializers.BooleanField(required=False)
    expires_after_seconds = serializers.IntegerField(required=False, allow_null=True)
    approval_id = serializers.CharField(required=False)
    approved_digest = serializers.CharField(required=False)
    approved_by = serializers.ListField(child=serializers.CharField(), required=False)
