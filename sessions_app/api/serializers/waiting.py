"""Approvals, questions and operator decisions: bodies, queries, answers."""

from typing import Final

from rest_framework import serializers

from sessions_app.api.serializers.base import (
    Choice,
    Flag,
    JsonObject,
    List,
    PageQuery,
    StrictSerializer,
    Text,
)
from sessions_app.models import ApprovalStatus, DecisionOutcome, DecisionStatus, QuestionStatus, Risk

DIGEST_HELP: Final = (
    "`digest` of the approval as it was looked at; when the call is another one by now, nothing is counted. "
    "To allow an edited call it is needed."
)


class WaitingQuery(PageQuery):
    """Filters that approvals, questions and decisions share."""

    session_id = Text(required=False, max_length=200)
    run_id = Text(required=False, max_length=60)


class ApprovalQuery(WaitingQuery):
    """Filters of the approval list."""

    status = Choice(choices=ApprovalStatus.values, required=False)
    tool_name = Text(required=False, max_length=200)
    risk = Choice(choices=Risk.values, required=False)


class QuestionQuery(WaitingQuery):
    """Filters of the question list."""

    status = Choice(choices=QuestionStatus.values, required=False)


class DecisionQuery(WaitingQuery):
    """Filters of the decision list."""

    status = Choice(choices=DecisionStatus.values, required=False)
    tool_name = Text(required=False, max_length=200)


class VoteBody(StrictSerializer):
    """One person's word. ``updated_input`` replaces the arguments of an allowed call.

    ``justification`` is for the record, ``reason`` is what the agent reads when the call is denied.
    """

    behavior = Choice(choices=("allow", "deny"))
    digest = Text(max_length=64, required=False, help_text=DIGEST_HELP)
    updated_input = JsonObject(required=False, allow_null=True)
    justification = Text(max_length=4000, required=False, allow_blank=True, default="")
    reason = Text(max_length=4000, required=False, allow_blank=True, default="")


class Vote(serializers.Serializer):
    """A vote as recorded; voided when the call was edited or the person voted again."""

    principal = serializers.CharField()
    behavior = serializers.ChoiceField(choices=["allow", "deny"])
    digest = serializers.CharField()
    voided = serializers.BooleanField()
    justification = serializers.CharField()
    reason = serializers.CharField()
    auth_method = serializers.CharField()
    remote_addr = serializers.CharField()
    at = serializers.DateTimeField()


class ApprovalDecision(serializers.Serializer):
    """What settled an approval."""

    behavior = serializers.CharField()
    principal = serializers.CharField(required=False)
    auth_method = serializers.CharField(required=False)
    justification = serializers.CharField(required=False)
    reason = serializers.CharField(required=False)
    edited = serializers.BooleanField(required=False)
    at = serializers.DateTimeField(required=False)


class ApprovalView(serializers.Serializer):
    """An approval. ``input`` is redacted; ``digest`` is of the exact call."""

    approval_id = serializers.CharField()
    session_id = serializers.CharField()
    run_id = serializers.CharField()
    call_id = serializers.CharField()
    tool_name = serializers.CharField()
    input = serializers.DictField()
    input_masked = serializers.BooleanField(help_text="Redaction hides a part of `input`.")
    digest = serializers.CharField()
    edited = serializers.BooleanField(help_text="`input` is not what the agent asked for.")
    reason = serializers.CharField()
    status = serializers.ChoiceField(choices=ApprovalStatus.values)
    required_votes = serializers.IntegerField()
    roles = serializers.ListField(child=serializers.CharField())
    requester_may_vote = serializers.BooleanField()
    risk = serializers.ChoiceField(choices=Risk.values, help_text="A yes to `high` needs a right of its own.")
    votes = Vote(many=True)
    expires_at = serializers.DateTimeField(required=False)
    created_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(required=False)
    decision = ApprovalDecision(required=False)


class AnswerBody(StrictSerializer):
    """The answer to one question: options, or own words."""

    question_id = Text(max_length=100)
    selected_option_ids = List(child=Text(max_length=100), required=False, max_length=20)
    freeform_answer = Text(max_length=20_000, required=False, allow_blank=True, allow_null=True)


class QuestionResolutionBody(StrictSerializer):
    """Answers to all questions together, or a decline."""

    answers = AnswerBody(many=True, required=False, max_length=20)  # type: ignore[call-arg]  # of the list
    declined = Flag(required=False, default=False)
    justification = Text(max_length=4000, required=False, allow_blank=True, default="")


class QuestionCancelBody(StrictSerializer):
    """Why nobody will answer."""

    justification = Text(max_length=4000, required=False, allow_blank=True, default="")


class Option(serializers.Serializer):
    """One thing to choose."""

    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a member of that name
    description = serializers.CharField(required=False)
    preview = serializers.CharField(
        required=False, help_text="What it looks like, as plain text; absent where the agent gave none."
    )


class AskedQuestion(serializers.Serializer):
    """One of the questions asked together."""

    id = serializers.CharField()
    header = serializers.CharField(required=False)
    question = serializers.CharField()
    options = Option(many=True)
    multi_select = serializers.BooleanField(required=False)


class GivenAnswer(serializers.Serializer):
    """One answer as recorded."""

    question_id = serializers.CharField()
    selected_option_ids = serializers.ListField(child=serializers.CharField(), required=False)
    freeform_answer = serializers.CharField(required=False, allow_null=True)


class QuestionView(serializers.Serializer):
    """One to four questions that are answered as a whole."""

    question_id = serializers.CharField()
    session_id = serializers.CharField()
    run_id = serializers.CharField()
    call_id = serializers.CharField()
    status = serializers.ChoiceField(choices=QuestionStatus.values)
    questions = AskedQuestion(many=True)
    answers = GivenAnswer(many=True)
    justification = serializers.CharField()
    expires_at = serializers.DateTimeField(required=False)
    created_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(required=False)
    resolved_by = serializers.CharField(required=False)


class JudgementBody(StrictSerializer):
    """What came of the effect. ``result`` is what the agent reads when it did happen."""

    outcome = Choice(choices=DecisionOutcome.values)
    note = Text(max_length=4000, required=False, allow_blank=True, default="")
    result = Text(max_length=100_000, required=False, allow_blank=True, default="")


class DecisionView(serializers.Serializer):
    """An effect of unknown outcome that an operator judges."""

    decision_id = serializers.CharField()
    session_id = serializers.CharField()
    run_id = serializers.CharField()
    call_id = serializers.CharField()
    tool_name = serializers.CharField()
    input = serializers.DictField()
    input_masked = serializers.BooleanField(help_text="Redaction hides a part of `input`.")
    partial_output = serializers.CharField()
    status = serializers.ChoiceField(choices=DecisionStatus.values)
    outcome = serializers.ChoiceField(choices=DecisionOutcome.values, required=False)
    note = serializers.CharField()
    result = serializers.CharField()
    created_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(required=False)
    resolved_by = serializers.CharField(required=False)
