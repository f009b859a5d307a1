"""Questions the agent asks people: answered as a whole, declined, or expired. Settled once."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

from kheish_site.lib import clock
from kheish_site.lib.errors import Conflict, NotFound
from kheish_site.lib.ids import new_id
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write
from sessions_app.models import QuestionStatus, Run, RunStatus, ToolCall, ToolCallState, UserQuestion
from sessions_app.services import effects, journal, run_state, waiting
from sessions_app.services.principal import Principal
from sessions_app.services.writes import Entry
from sessions_app.tools.ask_user_question import (
    QuestionSet,
    answer_result,
    check_answers,
    normalise_questions,
)
from sessions_app.tools.base import ToolResult


class QuestionMissing(NotFound):
    """No such question."""

    code, domain = "question_not_found", "questions"


class QuestionConflict(Conflict):
    """It was resolved in another way; the problem says how and by whom."""

    code, domain = "question_state_conflict", "questions"


class QuestionExpired(Conflict):
    """Its time was over before an answer came."""

    code, domain = "question_expired", "questions"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Answers to all the questions, or a decline."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    declined: bool = False
    justification: str = ""


def get(question_id: str) -> UserQuestion:
    """Return the question with its call, run and session. Raises: QuestionMissing."""
    found = _BY_ID.first(question_id)
    if found is None:
        raise QuestionMissing(f"there is no question {question_id}")
    return found


def _by_id(question_id: str) -> QuerySet[UserQuestion]:
    rows = UserQuestion.objects.select_related("tool_call", "run", "session")
    return rows.filter(question_id=question_id).order_by()


_BY_ID: Final = Prepared[UserQuestion](_by_id, str)


def ask(run: Run, call: ToolCall) -> tuple[UserQuestion, Entry]:
    """Ask what ``call`` says. Needs the open transaction in which the batch suspends."""
    now, asked = clock.now(), normalise_questions(call.arguments)
    question = UserQuestion.objects.create(
        question_id=new_id("qst"),
        session_id=run.session_id,
        run=run,
        tool_call=call,
        questions=redact(asked.questions),
        expires_at=_expiry(asked, now),
        created_at=now,
    )
    effects.advance(call, ToolCallState.AWAITING_APPROVAL)
    payload = {
        "question_id": question.question_id,
        "call_id": call.call_id,
        "questions": question.questions,
        "expires_at": clock.rfc3339(question.expires_at),
    }
    return question, journal.entry(run.session.session_id, "question.asked", payload, run=run)


def resolve(question_id: str, resolution: Resolution, *, principal: Principal) -> UserQuestion:
    """Settle the question and let the run go on. The same resolution again changes nothing.

    Raises: QuestionMissing, QuestionConflict, QuestionExpired, BadRequest(``question_*``).
    """
    question = get(question_id)
    with write():
        run = waiting.lock(question)
        if question.status != QuestionStatus.PENDING:
            _same_or_conflict(question, resolution)
            return get(question_id)
        if question.expires_at is not None and question.expires_at <= clock.now():
            raise QuestionExpired("the question has expired", question_id=question_id)
        _settle(question, resolution, principal)
        waiting.commit_settled(run, *_entries(question, run, resolution))
    return get(question_id)


def cancel(question_id: str, *, principal: Principal, justification: str = "") -> UserQuestion:
    """Say that nobody will answer: the run is cancelled.

    Repeating it changes nothing. Raises: QuestionMissing, QuestionConflict (it was resolved in another way).
    """
    question = get(question_id)
    with write():
        run = waiting.lock(question)
        if question.status == QuestionStatus.CANCELLED:
            return question
        if question.status != QuestionStatus.PENDING:
            raise _conflict(question)
        UserQuestion.objects.filter(pk=question.pk).update(
            resolved_by=principal.name, justification=redact(justification)
        )
        waiting.cancel_open(run, why=justification or "the question was cancelled")
        payload = {"principal": principal.name, "reason": justification, "question_id": question_id}
        run_state.transition(run, RunStatus.CANCELLED, session_id=run.session.session_id, payload=payload)
    return get(question_id)


def expire(question: UserQuestion) -> bool:
    """Settle a question whose time is over: its run is cancelled. False if it was settled first."""
    with write():
        run = waiting.lock(question)
        due = question.expires_at is not None and question.expires_at <= clock.now()
        if question.status != QuestionStatus.PENDING or not due:
            return False
        UserQuestion.objects.filter(pk=question.pk).update(
            status=QuestionStatus.EXPIRED, resolved_at=clock.now()
        )
        session_id = run.session.session_id
        payload = {"question_id": question.question_id, "expires_at": clock.rfc3339(question.expires_at)}
        journal.append(run.session_id, journal.entry(session_id, "question.expired", payload, run=run))
        waiting.cancel_open(run, why="a question expired")
        error = {"code": "question_expired", "message": "a question expired before anybody answered it"}
        run_state.transition(
            run, RunStatus.CANCELLED, session_id=session_id, payload={"error": error}, fields={"error": error}
        )
    return True


def _expiry(asked: QuestionSet, now: datetime) -> datetime | None:
    if asked.expires_after_seconds is not None:
        return now + timedelta(seconds=asked.expires_after_seconds)
    return asked.expires_at


def _same_or_conflict(question: UserQuestion, resolution: Resolution) -> None:
    wanted = QuestionStatus.DECLINED if resolution.declined else QuestionStatus.ANSWERED
    if question.status == QuestionStatus.EXPIRED:
        raise QuestionExpired("the question has expired", question_id=question.question_id)
    if question.status != wanted or question.answers != _checked(question, resolution):
        raise _conflict(question)


def _conflict(question: UserQuestion) -> QuestionConflict:
    return QuestionConflict(
        f"already {question.status} by {question.resolved_by or 'the daemon'}",
        question_id=question.question_id,
        question_status=question.status,
        answers=question.answers,
        resolved_by=question.resolved_by,
    )


def _checked(question: UserQuestion, resolution: Resolution) -> list[dict[str, Any]]:
    answers = check_answers(question.questions, resolution.answers, resolution.declined)
    return list(redact(answers))


def _settle(question: UserQuestion, resolution: Resolution, principal: Principal) -> None:
    question.answers = _checked(question, resolution)
    question.status = QuestionStatus.DECLINED if resolution.declined else QuestionStatus.ANSWERED
    question.justification = redact(resolution.justification)
    question.resolved_by, question.resolved_at = principal.name, clock.now()
    question.save(update_fields=["status", "answers", "justification", "resolved_by", "resolved_at"])
    effects.settle(question.tool_call, ToolCallState.SUCCEEDED, _result(question))


def _entries(question: UserQuestion, run: Run, resolution: Resolution) -> tuple[Entry, Entry]:
    kind = "question.declined" if resolution.declined else "question.answered"
    payload = {
        "question_id": question.question_id,
        "answers": question.answers,
        "principal": question.resolved_by,
        "justification": question.justification,
    }
    session_id = run.session.session_id
    told = effects.settled_entry(session_id, run, question.tool_call)
    return journal.entry(session_id, kind, payload, run=run), told


def _result(question: UserQuestion) -> ToolResult:
    declined = question.status == QuestionStatus.DECLINED
    why = question.justification
    return answer_result(question.questions, question.answers, declined=declined, justification=why)
