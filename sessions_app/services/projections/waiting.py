"""Approvals, questions and operator decisions as clients see them."""

from django.db.models import QuerySet

from kheish_site.lib.redaction import masks, redact
from sessions_app.models import Approval, ApprovalVote, OperatorDecision, UserQuestion
from sessions_app.services.approvals import is_edited
from sessions_app.services.projections.shape import View, known, time


def approval_rows() -> QuerySet[Approval]:
    """Return all approvals with what their views need; the votes cost one query more."""
    return Approval.objects.select_related("session", "run", "tool_call").prefetch_related("votes")


def approval_view(row: Approval) -> View:
    """Return one approval of ``approval_rows``; ``input`` is redacted, ``digest`` is of the exact call.

    ``input_masked`` tells that redaction hides some of it: what would run is then not all shown.
    """
    return {
        "approval_id": row.approval_id,
        "session_id": row.session.session_id,
        "run_id": row.run.run_id,
        "call_id": row.tool_call.call_id,
        "tool_name": row.tool_name,
        "input": redact(row.arguments),
        "input_masked": masks(row.arguments),
        "digest": row.digest,
        "edited": is_edited(row),
        "reason": redact(row.reason),
        "status": row.status,
        "required_votes": row.required_votes,
        "roles": row.roles,
        "requester_may_vote": row.requester_may_vote,
        "risk": row.risk,
        "votes": [_vote(vote) for vote in row.votes.all()],
        **known(expires_at=time(row.expires_at)),
        "created_at": time(row.created_at),
        **known(decided_at=time(row.decided_at), decision=redact(row.decision) or None),
    }


def _vote(vote: ApprovalVote) -> View:
    return {
        "principal": vote.principal,
        "behavior": vote.behavior,
        "digest": vote.digest,
        "voided": vote.voided_at is not None,
        "justification": redact(vote.justification),
        "reason": redact(vote.reason),
        "auth_method": vote.auth_method,
        "remote_addr": vote.remote_addr,
        "at": time(vote.at),
    }


def question_rows() -> QuerySet[UserQuestion]:
    """Return all questions with what their views need."""
    return UserQuestion.objects.select_related("session", "run", "tool_call")


def question_view(row: UserQuestion) -> View:
    """Return one question of ``question_rows``."""
    return {
        "question_id": row.question_id,
        "session_id": row.session.session_id,
        "run_id": row.run.run_id,
        "call_id": row.tool_call.call_id,
        "status": row.status,
        "questions": redact(row.questions),
        "answers": redact(row.answers),
        "justification": redact(row.justification),
        **known(expires_at=time(row.expires_at)),
        "created_at": time(row.created_at),
        **known(resolved_at=time(row.resolved_at), resolved_by=row.resolved_by or None),
    }


def decision_rows() -> QuerySet[OperatorDecision]:
    """Return all operator decisions with what their views need."""
    return OperatorDecision.objects.select_related("session", "run", "tool_call")


def decision_view(row: OperatorDecision) -> View:
    """Return one operator decision of ``decision_rows``; ``input`` is redacted."""
    return {
        "decision_id": row.decision_id,
        "session_id": row.session.session_id,
        "run_id": row.run.run_id,
        "call_id": row.tool_call.call_id,
        "tool_name": row.tool_call.tool_name,
        "input": redact(row.tool_call.arguments),
        "input_masked": masks(row.tool_call.arguments),
        "partial_output": redact(row.partial_output),
        "status": row.status,
        **known(outcome=row.outcome or None),
        "note": redact(row.note),
        "result": redact(row.result),
        "created_at": time(row.created_at),
        **known(resolved_at=time(row.resolved_at), resolved_by=row.resolved_by or None),
    }
