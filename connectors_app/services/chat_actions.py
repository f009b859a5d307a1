"""A pressed button decides, through the same services as every other surface.

The bytes of a button grant nothing (``button_data``). The person who presses must be mapped (``identities``),
hold the role operator, and press inside a connector the session talks through; then the approval's policy
has the last word. The outcome is one sentence that the platform can show.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from connectors_app.models import BindingKey, Connector, IngressReceipt
from connectors_app.services import button_data, handles, identities, registry
from connectors_app.services.button_data import ApprovalPress, QuestionPress
from kheish_site.lib.errors import KheishError
from kheish_site.lib.redaction import redact
from kheish_site.lib.visible import shortened
from sessions_app.models import Approval, ApprovalStatus, QuestionStatus, Run, Session, UserQuestion
from sessions_app.services import approvals, questions
from sessions_app.services.approvals import ApprovalConflict, ApprovalExpired, ApprovalMissing, Vote
from sessions_app.services.principal import Principal
from sessions_app.services.questions import QuestionConflict, QuestionExpired, QuestionMissing, Resolution

_STALE: Final = (
    "Nothing was decided: the call was edited after this message was sent. Look at it again before deciding."
)
_UNPROVEN: Final = "Nothing was decided: this connector takes events from anybody. Give it a secret."
_LONGEST_ANSWER: Final = 200
_PAST: Final = {"allow": "allowed", "deny": "denied"}
_NOT_BY_BUTTON: Final = "Nothing was decided: a button cannot answer this question. Answer it in the console."


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What to tell the person who pressed. ``settled``: nothing is left to press, the buttons can go.

    ``announcement`` says the same to everybody else who sees the message, with that person's name.
    """

    text: str
    settled: bool = False
    announcement: str = ""


def perform(connector: Connector, external_id: str, data: str, remote_addr: str = "") -> Outcome:
    """Decide as the button with ``data`` says, in the presser's name; a refusal becomes the outcome.

    Pressing again, or after somebody else, changes nothing and says who decided and when. Nothing is decided
    through a connector that takes unauthenticated events: the presser may be anybody. Call it outside a
    transaction: the service opens its own.
    """
    if registry.takes_from_anybody(connector):
        return Outcome(text=_UNPROVEN)
    pressed = button_data.read(data)
    if pressed is None:
        return Outcome(text="I do not know this button.")
    who = identities.principal_for(connector, external_id, remote_addr)
    if who is None:
        return Outcome(text=f"You may not decide here: no account is mapped to {redact(external_id)}.")
    if not who.can_operate:
        return Outcome(text=f"You may not decide here: {who.name} is {who.role or 'without a role'}.")
    try:
        if isinstance(pressed, ApprovalPress):
            return _vote(connector, who, pressed)
        return _answer(connector, who, pressed)
    except (ApprovalMissing, QuestionMissing):
        return Outcome(text="There is no such request in this chat.")
    except KheishError as refusal:
        return Outcome(text=f"Nothing was decided: {refusal.detail or refusal.error_code}.")


def _vote(connector: Connector, who: Principal, pressed: ApprovalPress) -> Outcome:
    approval = approvals.get(pressed.approval_id)
    if not _talks_through(connector, approval.session, approval.run):
        raise ApprovalMissing
    if approval.status != ApprovalStatus.PENDING:
        return Outcome(text=_approval_ended(approval), settled=True)
    if not approval.digest.startswith(pressed.digest):
        return Outcome(text=_STALE)
    if _stands(approval, who, pressed):
        return Outcome(text=f"Your vote counts already: {_counted(approval)}.")
    return _resolved(approval, who, pressed)


def _resolved(approval: Approval, who: Principal, pressed: ApprovalPress) -> Outcome:
    vote = Vote(behavior=pressed.behavior, digest=approval.digest)
    try:
        approval = approvals.resolve(approval.approval_id, vote, principal=who)
    except ApprovalExpired:
        return Outcome(text=_expired(approval.expires_at), settled=True)
    except ApprovalConflict:
        approval = approvals.get(approval.approval_id)
        if approval.status == ApprovalStatus.PENDING:
            return Outcome(text=_STALE)
        return Outcome(text=_approval_ended(approval), settled=True)
    if approval.status == ApprovalStatus.PENDING:
        return Outcome(text=f"Your vote counts: {_counted(approval)}.")
    if approval.decision.get("principal") != who.name:
        return Outcome(text=_approval_ended(approval), settled=True)
    done = f"{_PAST[pressed.behavior]} {redact(approval.tool_name)}."
    return Outcome(text=f"You {done}", settled=True, announcement=f"{who.name} {done}")


def _approval_ended(approval: Approval) -> str:
    if approval.status == ApprovalStatus.EXPIRED:
        return _expired(approval.expires_at)
    if approval.status == ApprovalStatus.CANCELLED:
        return f"Nothing is left to decide: the run has ended ({approval.run.status})."
    edited = " with edited arguments" if approval.decision.get("edited") else ""
    by = approval.decision.get("principal") or "the daemon"
    return f"Already {approval.status} by {by} at {_at(approval.decided_at)}{edited}."


def _stands(approval: Approval, who: Principal, pressed: ApprovalPress) -> bool:
    """Tell whether this person's vote is counted already: a platform may deliver one click twice."""
    return approval.votes.filter(
        principal=who.name, behavior=pressed.behavior, digest=approval.digest, voided_at=None
    ).exists()


def _counted(approval: Approval) -> str:
    given = approval.votes.filter(voided_at=None, behavior="allow", digest=approval.digest).count()
    return f"{given} of {approval.required_votes}"


def _answer(connector: Connector, who: Principal, pressed: QuestionPress) -> Outcome:
    question = questions.get(pressed.question_id)
    if not _talks_through(connector, question.session, question.run):
        raise QuestionMissing
    if question.status != QuestionStatus.PENDING:
        return Outcome(text=_question_ended(question), settled=True)
    resolution = _resolution(question, pressed)
    if resolution is None:
        return Outcome(text=_NOT_BY_BUTTON)
    try:
        question = questions.resolve(question.question_id, resolution, principal=who)
    except (QuestionConflict, QuestionExpired):
        return Outcome(text=_question_ended(questions.get(question.question_id)), settled=True)
    if question.resolved_by != who.name:
        return Outcome(text=_question_ended(question), settled=True)
    done = "declined to answer." if resolution.declined else f"answered: {_chosen(question)}."
    return Outcome(text=f"You {done}", settled=True, announcement=f"{who.name} {done}")


def _resolution(question: UserQuestion, pressed: QuestionPress) -> Resolution | None:
    if pressed.option is None:
        return Resolution(declined=True)
    if not answerable(question) or pressed.question != 0:
        return None
    only = question.questions[0]
    if pressed.option >= len(only["options"]):
        return None
    chosen = only["options"][pressed.option]["id"]
    return Resolution(answers=[{"question_id": only["id"], "selected_option_ids": [chosen]}])


def answerable(question: UserQuestion) -> bool:
    """Tell whether one press answers it whole: it asks one question that takes one option."""
    return len(question.questions) == 1 and not question.questions[0]["multi_select"]


def _question_ended(question: UserQuestion) -> str:
    if question.status in (QuestionStatus.EXPIRED, QuestionStatus.PENDING):
        return _expired(question.expires_at)
    if question.status == QuestionStatus.CANCELLED:
        return f"Nothing is left to answer: the run has ended ({question.run.status})."
    by = question.resolved_by or "the daemon"
    answer = f": {_chosen(question)}" if question.status == QuestionStatus.ANSWERED else ""
    return f"Already {question.status} by {by} at {_at(question.resolved_at)}{answer}."


def _chosen(question: UserQuestion) -> str:
    """Return the answers in words, on one line."""
    words: list[str] = []
    for asked, answer in zip(question.questions, question.answers, strict=True):
        labels = {option["id"]: option["label"] for option in asked["options"]}
        words += [labels[chosen] for chosen in answer["selected_option_ids"]]
        words += [" ".join(answer["freeform_answer"].split())] if answer["freeform_answer"] else []
    return str(redact(shortened("; ".join(words), _LONGEST_ANSWER)))


def _talks_through(connector: Connector, session: Session, run: Run) -> bool:
    """Tell whether the session takes events from ``connector`` or answers through it; no other may decide."""
    targets = [*run.reply_targets, *session.reply_targets]
    if any(handles.goes_through(target, connector) for target in targets):
        return True
    fed = IngressReceipt.objects.filter(connector=connector, session=session)
    bound = BindingKey.objects.filter(connector=connector, session=session)
    return fed.exists() or bound.exists()


def _expired(moment: datetime | None) -> str:
    return f"Too late: this expired at {_at(moment)}."


def _at(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
