"""What the ways in are in the OpenAPI document: whose they are, how a sender proves itself, what it says.

The shapes of other people's formats are theirs: what we read of them is in the examples.
"""

from collections.abc import Sequence
from typing import Any, Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework import serializers

from connectors_app.api.ingress import IngressView
from connectors_app.kinds.external import events
from connectors_app.kinds.external.events import Event
from connectors_app.kinds.external.ingress import MOST_EVENTS
from connectors_app.kinds.external.views import Credential, DeliveryAsset, EventBatch, Events
from connectors_app.kinds.http.bodies import HttpEvent
from connectors_app.kinds.http.views import HttpIngress
from connectors_app.kinds.slack.ingress import SlackIngress, SlackInteractive
from connectors_app.kinds.telegram.views import HEADER, TelegramIngress
from sessions_app.api import examples
from sessions_app.api.schema import KheishSchema, describe
from sessions_app.api.serializers.base import List, StrictSerializer, Text, Whole
from sessions_app.api.serializers.runs import RunView

Proofs = tuple[dict[str, list[str]], ...]
"""Ways a sender may prove itself, by scheme; an empty one is something else, or nothing."""
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_WITH_TOKEN: Final[Proofs] = ({"connector": []},)
_WITH_TOKEN_OR_PROOF: Final[Proofs] = (*_WITH_TOKEN, {})


def _header(name: str, description: str, *, required: bool = False) -> OpenApiParameter:
    return OpenApiParameter(
        name, OpenApiTypes.STR, OpenApiParameter.HEADER, required=required, description=description
    )


_OUR_SIGNATURE: Final = (
    _header("X-Kheish-Timestamp", "Unix seconds, where the connector wants a signature."),
    _header("X-Kheish-Signature", "`v1=` and the HMAC-SHA256 of method, target, time and body."),
)
_SLACK_SIGNATURE: Final = (
    _header("X-Slack-Request-Timestamp", "As Slack sends it.", required=True),
    _header("X-Slack-Signature", "As Slack signs it.", required=True),
)
_TELEGRAM_SECRET: Final = (_header(HEADER, "The connector's `secret_token`.", required=True),)
_EVENT_KEY: Final = (_header("Idempotency-Key", "Names the event where its body does not."),)


class SlackIgnored(serializers.Serializer):
    """An event that is no message for an agent."""

    ignored = serializers.BooleanField()
    reason = serializers.CharField(required=False)
    type = serializers.CharField(required=False)
    minute_rate_limited = serializers.IntegerField(required=False, allow_null=True)


class SlackChallenge(serializers.Serializer):
    """The answer to ``url_verification``."""

    challenge = serializers.CharField()


class SlackClick(StrictSerializer):
    """A press of a button, or anything else Slack calls an interaction."""

    payload = Text(help_text="Slack's JSON, as a form field.")


class TelegramTaken(serializers.Serializer):
    """An update that made no run: passed over, or a decision."""

    accepted = serializers.BooleanField()
    update_id = serializers.IntegerField()
    skipped = serializers.BooleanField(required=False)
    reason = serializers.CharField(required=False)
    decided = serializers.BooleanField(required=False)


class SidecarEvent(Event):
    """An event of a sidecar. Give ``content`` with ``attachments``, or ``input_items``."""


class SidecarBatch(StrictSerializer):
    """Events in their order; each is answered on its own."""

    protocol_version = Whole(min_value=1, max_value=2, required=False)
    events = List(child=SidecarEvent(), max_length=MOST_EVENTS)


class SidecarAnswer(serializers.Serializer):
    """What became of one event. A rejected one is rejected again as it is."""

    event_id = serializers.CharField(required=False)
    status = serializers.ChoiceField(choices=["accepted", "duplicate", "rejected", "rate_limited", "error"])
    session_id = serializers.CharField(required=False)
    run_id = serializers.CharField(required=False)
    reason = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    retry_after_ms = serializers.IntegerField(required=False)


class SidecarAnswers(serializers.Serializer):
    """One answer for each event, in their order."""

    results = SidecarAnswer(many=True)


class SidecarCredential(serializers.Serializer):
    """A value and the lease it was read with."""

    value = serializers.CharField()
    lease_id = serializers.CharField()
    grant_id = serializers.CharField()
    expires_at_ms = serializers.IntegerField()


_SLACK_MESSAGE: Final[dict[str, Any]] = {
    "type": "event_callback",
    "team_id": "T061EG9R6",
    "api_app_id": "A0FFV41KK",
    "event_id": "Ev08MFMKH6",
    "event_time": 1795860446,
    "authorizations": [{"enterprise_id": None, "team_id": "T061EG9R6", "user_id": "UBOT", "is_bot": True}],
    "event": {
        "type": "message",
        "channel": "C024BE91L",
        "channel_type": "channel",
        "user": "U2147483697",
        "text": "Why is the checkout slow?",
        "ts": "1795860446.000005",
        "event_ts": "1795860446.000005",
    },
}
_TELEGRAM_UPDATE: Final[dict[str, Any]] = {
    "update_id": 10000,
    "message": {
        "message_id": 1365,
        "date": 1795860446,
        "chat": {"id": 1111111, "type": "private", "first_name": "Ann"},
        "from": {"id": 1111111, "is_bot": False, "first_name": "Ann"},
        "text": "Why is the checkout slow?",
    },
}
_SIDECAR_EVENT: Final[dict[str, Any]] = {
    "protocol_version": 2,
    "instance_id": "mail-1",
    "event_id": "<4821@example.org>",
    "occurred_at_ms": 1_795_860_446_123,
    "actor_id": "ann@example.org",
    "thread": {"path": ["ann@example.org", "<4821@example.org>"]},
    "content": "Why is the checkout slow?",
}
_SIDECAR_ANSWER: Final[dict[str, Any]] = {
    "event_id": "<4821@example.org>",
    "status": "accepted",
    "session_id": "incident-4821",
    "run_id": examples.RUN["run_id"],
}


def describe_ways_in() -> None:
    """Put the ways in into the document. Called once, where their addresses are collected."""
    _describe_http()
    _describe_slack()
    _describe_telegram()
    _describe_sidecars()


def _describe_http() -> None:
    _put(
        HttpIngress,
        post=describe(
            "http_event",
            "Send an event to an http connector",
            body=HttpEvent,
            answer=RunView,
            body_example={"content": "Deploy 42 failed.", "idempotency_key": "deploy-42"},
            example=examples.RUN,
            parameters=(*_EVENT_KEY, *_OUR_SIGNATURE),
            auth=_WITH_TOKEN_OR_PROOF,
            description=(
                "One event is one run, however often it comes: a repeat gets the run of the first. Proved by "
                "the connector's `bearer_token`, by a signature (also of Standard Webhooks), or both. With "
                "`body_format` `event` the body is any JSON. A connector that takes events of anybody "
                "answers without what the run said."
            ),
        ),
    )


def _describe_slack() -> None:
    _put(
        SlackIngress,
        post=describe(
            "slack_event",
            "Take an event of Slack",
            body={_JSON: OpenApiTypes.OBJECT, _FORM: SlackClick},
            answer=_one_of("SlackAnswer", RunView, SlackIgnored, SlackChallenge),
            body_example=_SLACK_MESSAGE,
            example=examples.RUN,
            parameters=_SLACK_SIGNATURE,
            auth=(),
            description="The request URL of an app's event subscriptions; clicks are taken here too.",
        ),
    )
    _put(
        SlackInteractive,
        post=describe(
            "slack_interaction",
            "Take a click in Slack",
            body={_FORM: SlackClick},
            answer=None,
            body_example={"payload": '{"type":"block_actions","team":{"id":"T061EG9R6"},"actions":[]}'},
            parameters=_SLACK_SIGNATURE,
            auth=(),
            description="The request URL of an app's interactivity. Answered at once, always without a body.",
        ),
    )


def _describe_telegram() -> None:
    _put(
        TelegramIngress,
        post=describe(
            "telegram_update",
            "Take an update of Telegram",
            body={_JSON: OpenApiTypes.OBJECT},
            answer=_one_of("TelegramAnswer", RunView, TelegramTaken),
            body_example=_TELEGRAM_UPDATE,
            example=examples.RUN,
            parameters=_TELEGRAM_SECRET,
            auth=(),
            description="The address a bot's webhook is set to. 409 for a connector that polls.",
        ),
    )


def _describe_sidecars() -> None:
    _name_parts()
    _put(
        Events,
        post=describe(
            "sidecar_event",
            "Send an event of a sidecar",
            body=SidecarEvent,
            answer=SidecarAnswer,
            body_example=_SIDECAR_EVENT,
            example=_SIDECAR_ANSWER,
            auth=_WITH_TOKEN,
            description="What is wrong with the event itself is said in a 200: `rejected`, with its reason.",
        ),
    )
    _put(
        EventBatch,
        post=describe(
            "sidecar_batch",
            "Send events of a sidecar",
            body=SidecarBatch,
            answer=SidecarAnswers,
            body_example={"protocol_version": events.DEFAULT_PROTOCOL, "events": [_SIDECAR_EVENT]},
            example={"results": [_SIDECAR_ANSWER]},
            auth=_WITH_TOKEN,
        ),
    )
    _put(
        Credential,
        get=describe(
            "sidecar_credential",
            "Read a credential of a child process",
            answer=SidecarCredential,
            example={
                "value": "the password",
                "lease_id": "lease_01JD7ZK6A1B2C3D4E5F6G7H8J9",
                "grant_id": "connector:external/mail",
                "expires_at_ms": 1_795_860_746_123,
            },
            auth=_WITH_TOKEN,
            description="With the lease the process was started with as bearer token.",
        ),
    )
    _put(
        DeliveryAsset,
        get=describe(
            "sidecar_delivery_asset",
            "Read a file of a delivery",
            answer=OpenApiTypes.BINARY,
            media_types=["application/octet-stream"],
            auth=_WITH_TOKEN,
            description="While the delivery is on its way through this connector; with its own media type.",
        ),
    )


def _name_parts() -> None:
    """The parts of an event have no names of their own; in the document they need some."""
    for field, name in (
        ("relation", "SidecarRelation"),
        ("thread", "SidecarThread"),
        ("input_items", "SidecarItem"),
        ("attachments", "SidecarAttachment"),
    ):
        part: Any = Event._declared_fields[field]
        extend_schema_serializer(component_name=name)(type(getattr(part, "child", part)))


def _put(view: type[IngressView], **verbs: Any) -> None:
    view.schema = KheishSchema()  # type: ignore[assignment]  # whose base says there is none
    extend_schema_view(**verbs)(view)


def _one_of(name: str, *shapes: type[serializers.Serializer]) -> PolymorphicProxySerializer:
    named: Sequence[Any] = shapes
    return PolymorphicProxySerializer(name, named, resource_type_field_name=None)
