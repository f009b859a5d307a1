"""The kinds of things a run waits for a person about: what each is called, and where its rows are."""

from typing import Any, Final, NamedTuple

from django.db.models import QuerySet

from sessions_app.models import (
    Approval,
    ApprovalStatus,
    DecisionStatus,
    OperatorDecision,
    QuestionStatus,
    RunStatus,
    UserQuestion,
)

Item = Approval | UserQuestion | OperatorDecision


class Kind(NamedTuple):
    """What a run may wait for. ``resumed_as`` is its own kind once it goes on; "" leaves that as it is."""

    waits: RunStatus
    noun: str
    model: type[Item]
    statuses: Any
    closed_at: str
    resumed_as: str = ""

    def pending(self) -> QuerySet[Any]:
        """Return those that are open, in no order."""
        return self.model._default_manager.filter(status=self.statuses.PENDING).order_by()

    def id_of(self, item: Any) -> str:
        """Return the public id of one of them."""
        return str(getattr(item, f"{self.noun}_id"))


KINDS: Final = (
    Kind(
        RunStatus.WAITING_FOR_APPROVAL, "approval", Approval, ApprovalStatus, "decided_at", "approval_resume"
    ),
    Kind(
        RunStatus.WAITING_FOR_USER_QUESTION, "question", UserQuestion, QuestionStatus, "resolved_at",
        "user_question_resume",
    ),
    Kind(RunStatus.WAITING_FOR_OPERATOR, "decision", OperatorDecision, DecisionStatus, "resolved_at"),
)  # fmt: skip
"""In the order in which a run says what it waits for."""
