"""The OpenAPI document: what ``describe`` says of a verb, and what all verbs share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from sessions_app.api.idempotency import MEMBER
from sessions_app.api.serializers.base import StrictSerializer

Handler = TypeVar("Handler", bound=Callable[..., Any])

_KEY_SCHEMA: Final = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]{1,200}$"}
_IDEMPOTENCY_KEY: Final = OpenApiParameter(
    "Idempotency-Key",
    _KEY_SCHEMA,
    OpenApiParameter.HEADER,
    description=(
        "The same key with the same request gets the first answer again, for seven days unless the service "
        "is set otherwise."
    ),
)
_IF_MATCH: Final = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    description="The `ETag` of the version you have seen, or `*`. 412 when it is stale, 428 without it.",
)


def describe(
    operation: str,
    summary: str,
    *,
    answer: Any,
    status: int = 200,
    body: type[serializers.Serializer] | Mapping[str, Any] | None = None,
    example: Any = None,
    body_example: Any = None,
    if_match: bool = False,
    description: str = "",
    answers: Mapping[int, Any] | None = None,
    parameters: Sequence[OpenApiParameter] = (),
    media_types: Sequence[str] = (),
    auth: Sequence[Mapping[str, Any]] | None = None,
) -> Callable[[Handler], Handler]:
    """Document a view method: its operation id, summary, body, answer, and an example of each.

    ``answers`` are those of other statuses, ``parameters`` its own headers, ``media_types`` what it answers
    instead of JSON. ``body`` may say what is read of each media type; the example is of the first. ``auth``
    says how callers prove themselves where they do it otherwise. Put it outermost, above ``@idempotent``.
    Query parameters come from the view's ``query_serializer``, the Idempotency-Key header from
    ``@idempotent``.
    """
    examples = []
    if body_example is not None:
        first = next(iter(body)) if isinstance(body, Mapping) else "application/json"
        examples.append(
            OpenApiExample(f"{operation} request", value=body_example, request_only=True, media_type=first)
        )
    if example is not None:
        examples.append(
            OpenApiExample(
                f"{operation} answer", value=example, response_only=True, status_codes=[str(status)]
            )
        )
    return extend_schema(
        operation_id=operation,
        summary=summary,
        description=description or summary + ".",
        request=body,
        responses={
            **{(status, kind): OpenApiResponse(answer, description=summary) for kind in media_types},
            **{
                code: OpenApiResponse(shape, description=summary)
                for code, shape in {**({} if media_types else {status: answer}), **(answers or {})}.items()
            },
        },
        examples=examples,
        parameters=[*([_IF_MATCH] if if_match else []), *parameters],
        auth=auth,  # type: ignore[arg-type]  # it goes into the document as it is
    )


class KheishSchema(AutoSchema):
    """What the views' attributes say about every operation."""

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        """Say of strict bodies that they are closed."""
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "request" and isinstance(serializer, StrictSerializer):
            schema["additionalProperties"] = False
        return schema

    def get_override_parameters(self) -> list[Any]:
        """Return the query parameters and the shared headers."""
        parameters: list[Any] = list(super().get_override_parameters())
        handler = getattr(self.view, self.method.lower(), None)
        query = getattr(self.view, "query_serializer", None)
        if self.method == "DELETE":
            query = getattr(self.view, "delete_query", None)
        if self.method in ("GET", "DELETE") and query is not None and query().fields:
            parameters.append(query)
        if getattr(handler, "idempotent", False):
            parameters.append(_IDEMPOTENCY_KEY)
        return parameters


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """API tokens in the document."""

    target_class = "sessions_app.api.auth.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "kh_…"}


class LoginScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Logged-in people in the document."""

    target_class = "sessions_app.api.auth.LoginAuthentication"
    name = "login"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "apiKey", "in": "cookie", "name": "kheish_session"}


_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457. Some codes add members of their own, such as the winner of a conflict.",
    "required": ["type", "title", "status", "detail", "code", "retryable"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:kheish:problem:run_not_found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; made for programs."},
        "domain": {"type": "string"},
        "retryable": {"type": "boolean"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string"},
                    "parameter": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing: every operation may answer with a problem document."""
    schemas = result["components"].setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    answer = {
        "description": "A problem document.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path in result["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"] |= {"4XX": answer, "5XX": answer}
                _add_key_member(operation, schemas)
    return result


def _add_key_member(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Where the Idempotency-Key header is taken, the body may name the key instead."""
    if all(parameter["name"] != _IDEMPOTENCY_KEY.name for parameter in operation.get("parameters", [])):
        return
    for content in operation.get("requestBody", {}).get("content", {}).values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if name:
            schemas[name].setdefault("properties", {}).setdefault(MEMBER, _KEY_SCHEMA)
