"""Runs: bodies, queries, answers."""

from typing import Any, Final

from rest_framework import serializers

from sessions_app.api import limits
from sessions_app.api.serializers.base import (
    Choice,
    JsonObject,
    JsonValue,
    List,
    PageQuery,
    Query,
    StrictSerializer,
    Text,
)
from sessions_app.api.serializers.fields import Generation, Keys, one_route
from sessions_app.api.serializers.sessions import ReplyTargets
from sessions_app.api.serializers.waiting import DIGEST_HELP
from sessions_app.models import RunStatus
from sessions_app.services import inputs
from sessions_app.services.inputs import MOST_ASSETS

_MOST_ITEMS: Final = 50


class _File(StrictSerializer):
    """The members of a stored file and of one that comes along."""

    asset_id = Text(max_length=60, required=False)
    file_name = Text(max_length=1000, allow_blank=True, required=False)
    media_type = Text(max_length=200, allow_blank=True, required=False, help_text="Found out when absent.")
    content_base64 = Text(allow_blank=True, required=False)  # an empty file is refused as one


class InputItem(_File):
    """A piece of input: ``text``, ``asset_reference`` or ``inline_asset``."""

    type = Text(max_length=40)
    text = Text(allow_blank=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse members that belong to another type. Raises: ValidationError."""
        needed, allowed = _MEMBERS.get(attrs["type"], (None, frozenset(attrs)))
        return _only(attrs, needed, allowed | {"type"})


class AttachmentItem(_File):
    """A file beside ``content``: ``asset_id``, or one that comes along."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require one of the two. Raises: ValidationError."""
        kind = "asset_reference" if "asset_id" in attrs else "inline_asset"
        return _only(attrs, *_MEMBERS[kind])


_MEMBERS: Final[dict[str, tuple[str | None, frozenset[str]]]] = {
    "text": (None, frozenset({"text"})),
    "asset_reference": ("asset_id", frozenset({"asset_id"})),
    "inline_asset": ("content_base64", frozenset({"file_name", "media_type", "content_base64"})),
}
"""By type: the member it cannot do without, and all it may have."""


def _only(attrs: dict[str, Any], needed: str | None, allowed: frozenset[str]) -> dict[str, Any]:
    errors = {name: ["does not belong here"] for name in sorted(attrs.keys() - allowed)}
    if needed is not None and needed not in attrs:
        errors[needed] = ["This field is required."]
    if errors:
        raise serializers.ValidationError(errors)
    return attrs


class NewRunBody(StrictSerializer):
    """Either ``input_items``, or ``content`` and ``attachments``. The rest overrides what else would hold."""

    content = Text(required=False, allow_blank=True)
    input_items = InputItem(many=True, required=False, max_length=_MOST_ITEMS)  # type: ignore[call-arg]  # of the list
    attachments = AttachmentItem(many=True, required=False, max_length=MOST_ASSETS)  # type: ignore[call-arg]  # of the list
    route_id = Text(max_length=200, required=False, allow_null=True)
    provider = Text(max_length=200, required=False, allow_null=True, help_text="Older name of route_id.")
    model = Text(max_length=300, required=False, allow_null=True)
    generation = Generation(required=False, allow_null=True)
    metadata = JsonObject(
        required=False,
        allow_null=True,
        help_text="Without what the runtime says of a run's origin (`connector`, `schedule_id`, `daemon_…`).",
    )
    source_plugin = Text(
        max_length=60,
        required=False,
        help_text="What the client calls itself, and its actor; `requested_by` is who truly sent it.",
    )
    source_kind = Text(max_length=60, required=False)
    actor_id = Text(max_length=200, required=False)
    binding_keys = Keys(
        help_text="Conversations whose events come to this session from now on; a key never moves."
    )
    reply_targets = ReplyTargets(required=False, help_text="In place of the session's own.")
    reply_plugin = Text(max_length=40, required=False, help_text="One more reply target: its plugin.")
    reply_address = JsonValue(required=False, help_text="One more reply target: its address.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return what was said; null says nothing. Raises: PayloadTooLarge, BadRequest."""
        items = [dict(item) for item in attrs.get("input_items", ())]
        inputs.check_text([attrs.get("content", ""), *(item.get("text", "") for item in items)])
        limits.check_metadata(attrs.get("metadata") or {})
        route_id = one_route(attrs)
        said = {name: value for name, value in attrs.items() if value is not None}
        said |= {"route_id": route_id, "input_items": items, "reply_targets": _handles(said)}
        said["attachments"] = [dict(item) for item in attrs.get("attachments", ())]
        if "generation" in said:
            said["generation"] = dict(said["generation"])
        return said


class RetryBody(StrictSerializer):
    """What stands in for the input; without it, that is given again as it was."""

    content = Text(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises: PayloadTooLarge."""
        inputs.check_text([attrs.get("content", "")])
        return attrs


def _handles(said: dict[str, Any]) -> list[Any]:
    """Take the explicit reply targets out of ``said``, in both spellings. Raises: ValidationError."""
    named = {name: said.pop(f"reply_{name}") for name in ("plugin", "address") if f"reply_{name}" in said}
    if len(named) == 1:
        raise serializers.ValidationError({"reply_plugin": ["goes with reply_address, and only with it"]})
    handles = [*([named] if named else []), *said.pop("reply_targets", ())]
    limits.check_setting("reply_targets", handles)
    return handles


class RunQuery(PageQuery):
    """Filters of the run list."""

    session_id = Text(required=False, max_length=200)
    status = List(
        child=Choice(choices=RunStatus.values),
        required=False,
        max_length=20,
        help_text="May be given more than once.",
    )
    kind = Text(required=False, max_length=40)
    route_id = Text(required=False, max_length=200)
    persona_id = Text(required=False, max_length=200)
    priority_active = serializers.BooleanField(
        required=False, help_text="Show active runs before queued ones, and those before finished ones."
    )


class BoundPersonaRevision(serializers.Serializer):
    """The persona revision a run is pinned to."""

    persona_id = serializers.CharField()
    revision = serializers.IntegerField()
    display_name = serializers.CharField()


class RunRequest(serializers.Serializer):
    """Where a run came from."""

    source_plugin = serializers.CharField()
    source_kind = serializers.CharField()
    actor_id = serializers.CharField()
    requested_by = serializers.CharField(required=False)
    text_preview = serializers.CharField()


class WaitingFor(serializers.Serializer):
    """What a run waits for."""

    kind = serializers.ChoiceField(choices=["approval", "question", "decision", "budget"])
    ids = serializers.ListField(child=serializers.CharField())
    summary = serializers.CharField()


class OutputFile(serializers.Serializer):
    """A file that went out with an output. ``GET /v1/assets/{asset_id}/raw`` has its bytes."""

    asset_id = serializers.CharField()
    file_name = serializers.CharField()
    media_type = serializers.CharField()
    size_bytes = serializers.IntegerField()


class RunOutput(serializers.Serializer):
    """Something a run said to the outside."""

    source_kind = serializers.CharField(required=False)
    content = serializers.CharField(required=False, allow_blank=True)
    parts = serializers.ListField(child=serializers.DictField(), required=False)
    attachments = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Ids of the assets that went with it."
    )
    files = OutputFile(many=True, required=False, help_text="The attachments, in the same order.")


class Usage(serializers.Serializer):
    """Tokens of all steps."""

    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()


class RunError(serializers.Serializer):
    """Why a run ended badly."""

    code = serializers.CharField(required=False)
    message = serializers.CharField(required=False)


class RunView(serializers.Serializer):
    """A run."""

    run_id = serializers.CharField()
    session_id = serializers.CharField()
    kind = serializers.CharField(
        help_text="`input`; `approval_resume` or `user_question_resume` once it went on after people decided."
    )
    status = serializers.ChoiceField(choices=RunStatus.values)
    queued_position = serializers.IntegerField(required=False, help_text="From 1; only while queued.")
    step = serializers.IntegerField()
    max_steps = serializers.IntegerField()
    route_id = serializers.CharField()
    model = serializers.CharField()
    permission_mode = serializers.CharField()
    persona = BoundPersonaRevision(required=False)
    request = RunRequest()
    input_items = serializers.ListField(child=serializers.DictField())
    metadata = serializers.DictField()
    reply_targets = serializers.ListField(
        child=serializers.DictField(), help_text="Where its answers go, fixed when it was accepted."
    )
    pending_approval_ids = serializers.ListField(child=serializers.CharField())
    pending_question_ids = serializers.ListField(child=serializers.CharField())
    pending_decision_ids = serializers.ListField(child=serializers.CharField())
    waiting_for = WaitingFor(required=False)
    outputs = RunOutput(many=True)
    usage = Usage()
    error = RunError(required=False)
    stop_requested = serializers.ChoiceField(
        choices=["cancelled", "interrupted"],
        required=False,
        help_text="Asked for; honoured at the next boundary.",
    )
    recovered_count = serializers.IntegerField(help_text="Times another worker took the run over.")
    submitted_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(required=False)
    finished_at = serializers.DateTimeField(required=False)
    updated_at = serializers.DateTimeField()


class LookQuery(Query):
    """Why somebody looks at what is masked."""

    reason = Text(required=False, max_length=1000, help_text="Kept in the audit log.")


class ExactCall(serializers.Serializer):
    """A call as it is, nothing masked."""

    call_id = serializers.CharField()
    run_id = serializers.CharField()
    session_id = serializers.CharField()
    tool_name = serializers.CharField()
    state = serializers.CharField()
    digest = serializers.CharField(help_text="What an approval of this call is bound to.")
    input = serializers.DictField()
    result = serializers.CharField(allow_blank=True)


class ExportQuery(Query):
    """How much of a run is exported."""

    unredacted = serializers.BooleanField(required=False, default=False)
    reason = Text(required=False, max_length=1000, help_text="Why you look; kept in the audit log.")


class RunExport(serializers.Serializer):
    """A run and all it takes to check it. Members may be added; `version` grows when one changes."""

    type = serializers.CharField()
    version = serializers.IntegerField()
    made_by = serializers.CharField()
    exported_at = serializers.DateTimeField()
    exported_by = serializers.CharField()
    redacted = serializers.BooleanField()
    run = RunView()
    journal = serializers.DictField(
        help_text="`rule`, `count`, `head` and `entries`: the run's own whole, of others `seq` and `digest`."
    )
    steps = serializers.ListField(child=serializers.DictField())
    tool_calls = serializers.ListField(child=serializers.DictField())
    approvals = serializers.ListField(child=serializers.DictField())
    questions = serializers.ListField(child=serializers.DictField())
    decisions = serializers.ListField(child=serializers.DictField())
    tasks = serializers.ListField(child=serializers.DictField())
    deliveries = serializers.ListField(child=serializers.DictField())
    events = serializers.ListField(child=serializers.DictField(), help_text="What brought the run.")
    external_actions = serializers.DictField(
        help_text="`records` of the session's whole chain and their signed `checkpoint`."
    )


class Cause(serializers.Serializer):
    """One thing a run waits for, or works on."""

    kind = serializers.ChoiceField(
        choices=["run", "approval", "question", "decision", "route", "worker", "task", "tool_call"]
    )
    id = serializers.CharField(allow_blank=True, help_text="Names the object; empty where none is known.")
    sentence = serializers.CharField(allow_blank=True)
    since = serializers.DateTimeField(allow_null=True)


class WhyView(serializers.Serializer):
    """Why a run stands where it stands."""

    run_id = serializers.CharField()
    state = serializers.ChoiceField(choices=["moving", "waiting", "ended"])
    code = serializers.CharField(help_text="Stable; made for programs.")
    sentence = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    because = Cause(many=True, help_text="What it waits for, nearest first, down to what holds all up.")
    next = serializers.CharField(allow_blank=True, help_text="How to go on.")


class Resolution(StrictSerializer):
    """One decision of a batch; ``request_id`` is the older name of ``approval_id``."""

    approval_id = Text(max_length=60, required=False)
    request_id = Text(max_length=60, required=False)
    behavior = Choice(choices=("allow", "deny"))
    digest = Text(max_length=64, required=False, help_text=DIGEST_HELP)
    updated_input = JsonObject(required=False, allow_null=True)
    justification = Text(max_length=4000, required=False, allow_blank=True, default="")
    reason = Text(max_length=4000, required=False, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the decision with one ``approval_id``. Raises: ValidationError."""
        ids = {attrs.pop(name) for name in ("approval_id", "request_id") if name in attrs}
        if len(ids) != 1:
            raise serializers.ValidationError({"approval_id": ["say which approval, once"]})
        return {**attrs, "approval_id": ids.pop()}


class ResolutionsBody(StrictSerializer):
    """Decisions that are made together or not at all."""

    resolutions = Resolution(many=True, max_length=256)  # type: ignore[call-arg]  # of the list
