"""Fields that several resources share."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from kheish_site.lib.errors import BadRequest
from sessions_app.api.serializers.base import (
    JSON_OBJECT,
    Choice,
    Flag,
    JsonObject,
    List,
    StrictSerializer,
    Text,
    Whole,
)
from sessions_app.tools.policy import MODES, RULE_SCHEMA

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")
MOST_KEYS: Final = 50
LONGEST_KEY: Final = 1000
_TOOL_CHOICES: Final = ("auto", "none", "required")
_RULE: Final[dict[str, Any]] = {name: part for name, part in RULE_SCHEMA.items() if name != "$schema"}


class Keys(List):
    """Names: of conversations, chats, hosts."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", MOST_KEYS)
        super().__init__(child=Text(max_length=LONGEST_KEY), required=False, default=list, **kwargs)


class ModeChoice(Choice):
    """A permission mode."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("choices", MODES)
        super().__init__(**kwargs)


@extend_schema_field({"type": "array", "maxItems": 200, "items": _RULE})
class Rules(List):
    """Permission rules; ``tools.policy.parse_rules`` judges them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=JsonObject(), max_length=200, **kwargs)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": list(_TOOL_CHOICES)},
            {
                "type": "object",
                "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 200}},
                "required": ["name"],
                "additionalProperties": False,
            },
        ]
    }
)
class ToolChoice(serializers.Field):
    """``auto``, ``none``, ``required`` or ``{"name": TOOL}``."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the choice. Raises: ValidationError."""
        if isinstance(data, str) and data in _TOOL_CHOICES:
            return data
        named = isinstance(data, dict) and list(data) == ["name"] and isinstance(data["name"], str)
        if not named or not 0 < len(data["name"]) <= 200:
            raise serializers.ValidationError('must be "auto", "none", "required" or {"name": TOOL}')
        return data

    def to_representation(self, value: Any) -> Any:
        """Return the choice as it was given."""
        return value


@extend_schema_field({"type": "number", "minimum": 0, "maximum": 2})
class Temperature(serializers.FloatField):
    """A JSON number from 0 to 2."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=2, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        """Return the number. Raises: ValidationError."""
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("must be a number")
        return float(super().to_internal_value(data))


class Reasoning(StrictSerializer):
    """How much a model should think."""

    effort = Choice(choices=EFFORTS, required=False)
    budget_tokens = Whole(min_value=1, max_value=1_000_000, required=False)


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            "type": {"enum": ["text", "structured_json"]},
            "schema": JSON_OBJECT,
            "strict": {"type": "boolean"},
        },
        "required": ["type"],
        "additionalProperties": False,
    }
)
class ResponseFormat(StrictSerializer):
    """Plain text, or JSON that fits ``schema``."""

    type = Choice(choices=("text", "structured_json"))
    schema = JsonObject(required=False)
    strict = Flag(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require a schema exactly where one is used. Raises: ValidationError."""
        if (attrs["type"] == "structured_json") != ("schema" in attrs):
            raise serializers.ValidationError({"schema": ["goes with structured_json, and only with it"]})
        return attrs


class Generation(StrictSerializer):
    """Settings of the model call. What is absent or null is left to the next level."""

    model = Text(max_length=200, required=False, allow_null=True)
    temperature = Temperature(required=False, allow_null=True)
    max_output_tokens = Whole(min_value=1, max_value=1_000_000, required=False, allow_null=True)
    tool_choice = ToolChoice(required=False, allow_null=True)
    allow_parallel_tool_calls = Flag(required=False, allow_null=True)
    response_format = ResponseFormat(required=False, allow_null=True)
    reasoning = Reasoning(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> Any:
        """Return what was said, without what was left open."""
        found = super().to_internal_value(data)
        return {name: value for name, value in found.items() if value is not None}


class RoutePolicy(StrictSerializer):
    """The default route and generation of a session's future runs; ``provider`` is an older ``route_id``."""

    route_id = Text(max_length=200, required=False, allow_null=True)
    provider = Text(max_length=200, required=False, allow_null=True, write_only=True)
    generation = Generation(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the policy in one spelling."""
        route_id = one_route(attrs)
        generation = attrs.get("generation")
        return {
            **({"route_id": route_id} if route_id else {}),
            **({"generation": dict(generation)} if generation else {}),
        }


def one_route(attrs: dict[str, Any]) -> str:
    """Take ``route_id`` and its alias ``provider`` out of ``attrs``; "" when neither is said.

    Raises: BadRequest(route_selector_conflict) when they differ.
    """
    route_id, provider = attrs.pop("route_id", None) or "", attrs.pop("provider", None) or ""
    if route_id and provider and route_id != provider:
        raise BadRequest(
            "route_id and provider name two routes", code="route_selector_conflict", domain="routes"
        )
    return str(route_id or provider)


class _Names(List):
    child = Text(max_length=300, allow_blank=False)


def _names() -> _Names:
    return _Names(required=False, max_length=500)


class CapabilityScope(StrictSerializer):
    """What the session's agent can see. An empty or absent allow list allows all; deny wins."""

    skill_allow = _names()
    skill_deny = _names()
    mcp_server_allow = _names()
    mcp_server_deny = _names()
    mcp_tool_allow = _names()
    mcp_tool_deny = _names()


class CredentialScope(StrictSerializer):
    """What the session's agent is authorised to use."""

    route_allow = _names()
    route_deny = _names()
    connector_allow = _names()
    connector_deny = _names()
    connector_credential_allow = _names()
    connector_credential_deny = _names()
    mcp_server_allow = _names()
    mcp_server_deny = _names()
