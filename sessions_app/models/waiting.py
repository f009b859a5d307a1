"""What a run may wait for a person about: approvals, questions, operator decisions."""

from django.db import models
from django.db.models import Q

from sessions_app.models.base import JSONObject, name_field
from sessions_app.models.run import Run
from sessions_app.models.session import Session
from sessions_app.models.tool_call import ToolCall


class ApprovalStatus(models.TextChoices):
    """An approval leaves ``pending`` once."""

    PENDING = "pending"
    ALLOWED = "allowed"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Risk(models.TextChoices):
    """What a yes may cost, by the policy of the call."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Approval(models.Model):
    """A call that needs people. Born when its batch suspends; settled once.

    It binds to ``digest``: an edit writes new ``arguments`` and a new digest and voids the votes
    given to the old one.
    """

    approval_id = name_field(unique=True, length=40)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="approvals")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="approvals")
    tool_call = models.ForeignKey(ToolCall, on_delete=models.PROTECT, related_name="approvals")
    tool_name = name_field()
    arguments = JSONObject()
    digest = models.CharField(max_length=64)
    reason = models.TextField(blank=True, default="")
    status = models.CharField(max_length=10, choices=ApprovalStatus.choices, default=ApprovalStatus.PENDING)
    required_votes = models.PositiveSmallIntegerField(default=1)
    roles = JSONObject(default=list)
    requester_may_vote = models.BooleanField(default=True)
    risk = models.CharField(max_length=6, choices=Risk.choices, default=Risk.HIGH)
    decision = JSONObject()
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("decide_high_risk", "Can approve calls of high risk")]
        constraints = [
            models.UniqueConstraint(
                fields=["tool_call"], condition=Q(status="pending"), name="approval_one_open"
            ),
            models.CheckConstraint(condition=Q(risk__in=Risk.values), name="approval_risk_known"),
            models.CheckConstraint(
                condition=Q(status__in=ApprovalStatus.values), name="approval_status_known"
            ),
        ]
        indexes = [
            # the inbox: WHERE status = 'pending' ORDER BY id DESC
            models.Index(fields=["-id"], condition=Q(status="pending"), name="approval_inbox"),
            # expiry: WHERE status = 'pending' AND expires_at <= now
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="approval_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.approval_id} {self.tool_name}"


class ApprovalVote(models.Model):
    """One person's word on one exact digest; voided when the call is edited afterwards."""

    approval = models.ForeignKey(Approval, on_delete=models.PROTECT, related_name="votes")
    principal = name_field()
    behavior = name_field(length=8)
    digest = models.CharField(max_length=64)
    justification = models.TextField(blank=True, default="")
    reason = models.TextField(blank=True, default="")
    auth_method = name_field(blank=True, default="", length=30)
    remote_addr = name_field(blank=True, default="", length=64)
    voided_at = models.DateTimeField(null=True, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["approval", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["approval", "principal"],
                condition=Q(voided_at__isnull=True),
                name="approval_vote_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.principal}: {self.behavior}"


class QuestionStatus(models.TextChoices):
    """A question leaves ``pending`` once."""

    PENDING = "pending"
    ANSWERED = "answered"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class UserQuestion(models.Model):
    """One to four questions the agent asked together; answered, declined or expired as a whole."""

    question_id = name_field(unique=True, length=40)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="questions")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="questions")
    tool_call = models.ForeignKey(ToolCall, on_delete=models.PROTECT, related_name="questions")
    questions = JSONObject(default=list)
    status = models.CharField(max_length=10, choices=QuestionStatus.choices, default=QuestionStatus.PENDING)
    answers = JSONObject(default=list)
    justification = models.TextField(blank=True, default="")
    resolved_by = name_field(blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tool_call"], condition=Q(status="pending"), name="question_one_open"
            ),
            models.CheckConstraint(
                condition=Q(status__in=QuestionStatus.values), name="question_status_known"
            ),
        ]
        indexes = [
            models.Index(fields=["-id"], condition=Q(status="pending"), name="question_inbox"),
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="question_expiry"),
        ]

    def __str__(self) -> str:
        return self.question_id


class DecisionStatus(models.TextChoices):
    """An operator decision leaves ``pending`` once."""

    PENDING = "pending"
    RESOLVED = "resolved"
    CANCELLED = "cancelled"


class DecisionOutcome(models.TextChoices):
    """What an operator may say of an effect nobody can know."""

    HAPPENED = "happened", "it happened"
    NOT_HAPPENED = "not_happened", "it did not, run it"
    TELL_AGENT = "tell_agent", "tell the agent"
    GIVE_UP = "give_up", "give up"


class OperatorDecision(models.Model):
    """An effect of unknown outcome that a person must judge. Born with the ``unknown`` state."""

    decision_id = name_field(unique=True, length=40)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="decisions")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="decisions")
    tool_call = models.ForeignKey(ToolCall, on_delete=models.PROTECT, related_name="decisions")
    partial_output = models.TextField(blank=True, default="")
    status = models.CharField(max_length=10, choices=DecisionStatus.choices, default=DecisionStatus.PENDING)
    outcome = models.CharField(max_length=14, choices=DecisionOutcome.choices, blank=True, default="")
    note = models.TextField(blank=True, default="")
    result = models.TextField(blank=True, default="")
    resolved_by = name_field(blank=True, default="")
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tool_call"], condition=Q(status="pending"), name="decision_one_open"
            ),
            models.CheckConstraint(
                condition=Q(status__in=DecisionStatus.values), name="decision_status_known"
            ),
        ]
        indexes = [
            models.Index(fields=["-id"], condition=Q(status="pending"), name="decision_inbox"),
        ]

    def __str__(self) -> str:
        return self.decision_id
