"""What a button carries: which item it decides, and how. It grants no right.

Anybody who knows an id can write these bytes, so a press is checked against the presser's own authority. An
approval's button carries the start of the digest of the call it was shown with: it cannot allow another call.
"""

import re
from dataclasses import dataclass
from typing import Final

from sessions_app.models import Approval, UserQuestion
from sessions_app.services.approvals import Behavior

LONGEST: Final = 64
"""Bytes of button data that Telegram takes; the other platforms take more."""
_MARK: Final = "kh1:"
_DIGEST: Final = 16
_ULID: Final = "[0-9A-HJKMNP-TV-Z]{26}"
_APPROVAL: Final = re.compile(rf"kh1:a:({_ULID}):([0-9a-f]{{{_DIGEST}}}):([yn])")
_QUESTION: Final = re.compile(rf"kh1:q:({_ULID}):(?:([0-9]):([0-9])|d)")


@dataclass(frozen=True, kw_only=True)
class ApprovalPress:
    """Allow or deny the call whose digest begins with ``digest``."""

    approval_id: str
    digest: str
    behavior: Behavior


@dataclass(frozen=True, kw_only=True)
class QuestionPress:
    """Choose an option of a question, both counted from 0; without an option, decline."""

    question_id: str
    question: int = 0
    option: int | None = None


def is_ours(data: str) -> bool:
    """Tell whether ``data`` is meant for ``chat_actions``; a press of any other button is ordinary input."""
    return data.startswith(_MARK)


def for_approval(approval: Approval, behavior: Behavior) -> str:
    """Return the data of a button that allows or denies the call as it is now."""
    answer = "y" if behavior == "allow" else "n"
    return f"kh1:a:{_bare(approval.approval_id)}:{approval.digest[:_DIGEST]}:{answer}"


def for_option(question: UserQuestion, number: int, option: int) -> str:
    """Return the data of a button that answers question ``number`` with ``option``, counted from 0."""
    return f"kh1:q:{_bare(question.question_id)}:{number}:{option}"


def for_decline(question: UserQuestion) -> str:
    """Return the data of a button that declines to answer."""
    return f"kh1:q:{_bare(question.question_id)}:d"


def read(data: str) -> ApprovalPress | QuestionPress | None:
    """Parse the data of a pressed button; None when it is not one of ours."""
    if match := _APPROVAL.fullmatch(data):
        behavior: Behavior = "allow" if match[3] == "y" else "deny"
        return ApprovalPress(approval_id=f"apr_{match[1]}", digest=match[2], behavior=behavior)
    if match := _QUESTION.fullmatch(data):
        option = None if match[3] is None else int(match[3])
        return QuestionPress(question_id=f"qst_{match[1]}", question=int(match[2] or 0), option=option)
    return None


def _bare(public_id: str) -> str:
    return public_id.partition("_")[2]
