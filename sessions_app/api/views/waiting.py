"""Approvals, questions and operator decisions: listed, read, decided."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import examples, filters
from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers import waiting as shapes
from sessions_app.api.serializers.base import page_of
from sessions_app.api.views.base import KheishView
from sessions_app.services import approvals, decisions, projections, questions
from sessions_app.services.approvals import Vote
from sessions_app.services.decisions import Judgement
from sessions_app.services.questions import Resolution


class Approvals(KheishView):
    """``/v1/approvals``."""

    query_serializer = shapes.ApprovalQuery

    @describe(
        "approvals_list",
        "List approvals, newest first",
        answer=page_of(shapes.ApprovalView),
        example=examples.page(examples.APPROVAL),
    )
    def get(self, request: Request) -> Response:
        """One page of approvals."""
        rows = filters.narrow(filters.ApprovalFilter, self.query, projections.approval_rows())
        return self.page(rows, lambda found: [projections.approval_view(row) for row in found])


class OneApproval(KheishView):
    """``/v1/approvals/{approval_id}``."""

    @describe("approvals_get", "Get an approval", answer=shapes.ApprovalView, example=examples.APPROVAL)
    def get(self, request: Request, approval_id: str) -> Response:
        """The approval."""
        return Response(projections.approval_view(approvals.get(approval_id)))


class ApprovalResolve(KheishView):
    """``/v1/approvals/{approval_id}/resolve``."""

    @describe(
        "approvals_resolve",
        "Allow or deny a call",
        body=shapes.VoteBody,
        answer=shapes.ApprovalView,
        body_example={
            "behavior": "allow",
            "digest": examples.APPROVAL["digest"],
            "justification": "checked the diff",
        },
        example=examples.APPROVAL,
        description="The same decision again is 200; another one is 409 with the decision that won.",
    )
    @idempotent
    def post(self, request: Request, approval_id: str) -> Response:
        """Count one vote."""
        vote = Vote(**self.body(shapes.VoteBody))
        return Response(
            projections.approval_view(approvals.resolve(approval_id, vote, principal=self.principal))
        )


class Questions(KheishView):
    """``/v1/questions``."""

    query_serializer = shapes.QuestionQuery

    @describe(
        "questions_list",
        "List questions, newest first",
        answer=page_of(shapes.QuestionView),
        example=examples.page(examples.QUESTION),
    )
    def get(self, request: Request) -> Response:
        """One page of questions."""
        rows = filters.narrow(filters.QuestionFilter, self.query, projections.question_rows())
        return self.page(rows, lambda found: [projections.question_view(row) for row in found])


class OneQuestion(KheishView):
    """``/v1/questions/{question_id}``."""

    @describe("questions_get", "Get a question", answer=shapes.QuestionView, example=examples.QUESTION)
    def get(self, request: Request, question_id: str) -> Response:
        """The question."""
        return Response(projections.question_view(questions.get(question_id)))


class QuestionResolve(KheishView):
    """``/v1/questions/{question_id}/resolve``."""

    @describe(
        "questions_resolve",
        "Answer or decline",
        body=shapes.QuestionResolutionBody,
        answer=shapes.QuestionView,
        body_example={"answers": [{"question_id": "question-1", "selected_option_ids": ["option-1"]}]},
        example=examples.QUESTION,
        description="All questions are answered together. The same answer again is 200, another one 409.",
    )
    @idempotent
    def post(self, request: Request, question_id: str) -> Response:
        """Settle it."""
        body: dict[str, Any] = self.body(shapes.QuestionResolutionBody)
        answers = [dict(answer) for answer in body.pop("answers", [])]
        resolution = Resolution(answers=answers, **body)
        return Response(
            projections.question_view(questions.resolve(question_id, resolution, principal=self.principal))
        )


class QuestionCancel(KheishView):
    """``/v1/questions/{question_id}/cancel``."""

    @describe(
        "questions_cancel",
        "Say that nobody will answer",
        body=shapes.QuestionCancelBody,
        answer=shapes.QuestionView,
        example=examples.QUESTION,
        description="The run is cancelled with it.",
    )
    @idempotent
    def post(self, request: Request, question_id: str) -> Response:
        """Cancel question and run."""
        why = self.body(shapes.QuestionCancelBody)["justification"]
        question = questions.cancel(question_id, principal=self.principal, justification=why)
        return Response(projections.question_view(question))


class Decisions(KheishView):
    """``/v1/decisions``."""

    query_serializer = shapes.DecisionQuery

    @describe(
        "decisions_list",
        "List effects of unknown outcome, newest first",
        answer=page_of(shapes.DecisionView),
        example=examples.page(examples.DECISION),
    )
    def get(self, request: Request) -> Response:
        """One page of decisions."""
        rows = filters.narrow(filters.DecisionFilter, self.query, projections.decision_rows())
        return self.page(rows, lambda found: [projections.decision_view(row) for row in found])


class OneDecision(KheishView):
    """``/v1/decisions/{decision_id}``."""

    @describe(
        "decisions_get", "Get an operator decision", answer=shapes.DecisionView, example=examples.DECISION
    )
    def get(self, request: Request, decision_id: str) -> Response:
        """The decision."""
        return Response(projections.decision_view(decisions.get(decision_id)))


class DecisionResolve(KheishView):
    """``/v1/decisions/{decision_id}/resolve``."""

    @describe(
        "decisions_resolve",
        "Say what came of an effect",
        body=shapes.JudgementBody,
        answer=shapes.DecisionView,
        body_example={"outcome": "not_happened", "note": "the service shows no deploy"},
        example=examples.DECISION,
        description="The same outcome again is 200, another one is 409 with the one that won.",
    )
    @idempotent
    def post(self, request: Request, decision_id: str) -> Response:
        """Settle it."""
        judgement = Judgement(**self.body(shapes.JudgementBody))
        return Response(
            projections.decision_view(decisions.resolve(decision_id, judgement, principal=self.principal))
        )
