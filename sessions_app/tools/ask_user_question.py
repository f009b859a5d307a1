"""ask_user_question: stop and ask the people who gave the work.

The engine suspends the run instead of running the tool. The rules of asking and answering are pure
functions here; the service that stores questions uses them, whoever answers.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from kheish_site.lib.errors import BadRequest
from sessions_app.tools.base import Arguments, ToolContext, ToolFailure, ToolResult, ToolSpec, object_schema
from sessions_app.tools.fields import integer
from sessions_app.tools.schemas import problems

_ID: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 100}
_OPTION: Final = object_schema(
    ("label",),
    id=_ID,
    label={"type": "string", "minLength": 1, "maxLength": 200},
    description={"type": "string", "maxLength": 2000},
    preview={"type": "string", "maxLength": 10_000, "description": "What it looks like: a draft, a diff."},
)
_QUESTION: Final = object_schema(
    ("question", "options"),
    id=_ID,
    header={"type": "string", "maxLength": 60, "description": "A title of a few words."},
    question={"type": "string", "minLength": 1, "maxLength": 2000},
    options={"type": "array", "minItems": 2, "maxItems": 4, "items": _OPTION},
    multi_select={"type": "boolean"},
)
ARGUMENTS: Final = object_schema(
    ("questions",),
    questions={"type": "array", "minItems": 1, "maxItems": 4, "items": _QUESTION},
    expires_at={"type": "string", "description": "RFC 3339 time with its zone."},
    expires_after_seconds=integer(1, 31_536_000, "How long it may be answered, instead of expires_at."),
)
ANSWERS: Final[dict[str, Any]] = {
    "type": "array",
    "maxItems": 20,
    "items": object_schema(
        ("question_id",),
        question_id=_ID,
        selected_option_ids={"type": "array", "maxItems": 20, "items": _ID},
        freeform_answer={"type": ["string", "null"], "maxLength": 20_000},
    ),
}


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Questions as stored: every field present. At most one of the expiry fields is set."""

    questions: list[dict[str, Any]]
    expires_at: datetime | None = None
    expires_after_seconds: int | None = None


class AskUserQuestion:
    """Ask one to four questions with two to four options each."""

    spec = ToolSpec(
        name="ask_user_question",
        description=(
            "Ask the user one to four questions, each with two to four options; multi_select allows "
            "several. People may answer in their own words, or decline. The run waits for the answer."
        ),
        schema=ARGUMENTS,
        effect="read",
        suspends="question",
    )

    def problems(self, arguments: Arguments) -> list[str]:
        """Say what keeps the questions from being asked."""
        try:
            normalise_questions(arguments)
        except ToolFailure as failure:
            return [failure.message]
        return []

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Never the way: answers come through the question service."""
        raise ToolFailure("question_not_asked", "questions are answered by people, not run")


def normalise_questions(arguments: Arguments) -> QuestionSet:
    """Return the questions with ids and every field. Raises ToolFailure(invalid_questions)."""
    found = problems(ARGUMENTS, arguments)
    if found:
        raise _invalid("; ".join(found))
    if "expires_at" in arguments and "expires_after_seconds" in arguments:
        raise _invalid("give expires_at or expires_after_seconds, not both")
    questions = [_question(item, n) for n, item in enumerate(arguments["questions"], start=1)]
    _require_unique("question ids", [question["id"] for question in questions])
    _require_unique("question texts", [question["question"] for question in questions])
    return QuestionSet(
        questions=questions,
        expires_at=_time(arguments["expires_at"]) if "expires_at" in arguments else None,
        expires_after_seconds=arguments.get("expires_after_seconds"),
    )


def _question(item: dict[str, Any], number: int) -> dict[str, Any]:
    options = [
        {
            "id": option.get("id", f"option-{n}"),
            "label": option["label"].strip(),
            "description": option.get("description", ""),
            **({"preview": option["preview"]} if option.get("preview", "").strip() else {}),
        }
        for n, option in enumerate(item["options"], start=1)
    ]
    _require_unique("option ids", [option["id"] for option in options])
    _require_unique("option labels", [option["label"] for option in options])
    return {
        "id": item.get("id", f"question-{number}"),
        "header": item.get("header", ""),
        "question": item["question"].strip(),
        "options": options,
        "multi_select": item.get("multi_select", False),
    }


def _require_unique(what: str, values: list[str]) -> None:
    if not all(values) or len({value.casefold() for value in values}) != len(values):
        raise _invalid(f"{what} must be different and not blank")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise _invalid("expires_at has no time zone")
        return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid("expires_at is not an RFC 3339 time") from error


def _invalid(message: str) -> ToolFailure:
    return ToolFailure("invalid_questions", message)


def check_answers(
    questions: list[dict[str, Any]], answers: list[dict[str, Any]], declined: bool
) -> list[dict[str, Any]]:
    """Return ``answers`` in the order of ``questions``, every field present; empty when declined.

    Questions are answered as a whole. Raises BadRequest with a ``question_*`` code.
    """
    found = problems(ANSWERS, answers)
    if found:
        raise BadRequest("; ".join(found), domain="questions")
    if declined:
        if answers:
            raise _refused("question_declined_with_answers", "declining leaves no room for answers")
        return []
    known = {question["id"]: question for question in questions}
    given: dict[str, dict[str, Any]] = {}
    for answer in answers:
        question = known.get(answer["question_id"])
        if question is None:
            raise _refused("question_unknown_answer", f"no question {answer['question_id']}")
        if question["id"] in given:
            raise _refused("question_duplicate_answer", f"two answers to {question['id']}")
        given[question["id"]] = _answer(question, answer)
    missing = [identifier for identifier in known if identifier not in given]
    if missing:
        raise _refused("question_answer_missing", f"no answer to {', '.join(missing)}")
    return [given[identifier] for identifier in known]


def _answer(question: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    identifier = question["id"]
    selected = answer.get("selected_option_ids", [])
    text = (answer.get("freeform_answer") or "").strip()
    unknown = set(selected) - {option["id"] for option in question["options"]}
    if unknown:
        raise _refused("question_option_not_found", f"{identifier} has no option {min(unknown)}")
    if len(set(selected)) != len(selected):
        raise _refused("question_duplicate_option", f"{identifier}: an option is selected twice")
    if len(selected) > 1 and not question["multi_select"]:
        raise _refused("question_single_select_violation", f"{identifier} takes one option")
    if not selected and not text:
        raise _refused("question_answer_empty", f"{identifier}: select an option or write an answer")
    return {"question_id": identifier, "selected_option_ids": selected, "freeform_answer": text}


def _refused(code: str, detail: str) -> BadRequest:
    return BadRequest(detail, code=code, domain="questions")


def answer_result(
    questions: list[dict[str, Any]], answers: list[dict[str, Any]], *, declined: bool, justification: str = ""
) -> ToolResult:
    """Return what the model gets: the checked ``answers`` in words, or that the user declined."""
    data = {"answers": answers, "declined": declined, "justification": justification}
    reason = f" ({justification})" if justification else ""
    if declined:
        return ToolResult(content=f"The user declined to answer{reason}.", data=data)
    said = {answer["question_id"]: answer for answer in answers}
    lines = [f"{question['question']} {_in_words(question, said[question['id']])}" for question in questions]
    return ToolResult(content="\n".join(lines) + reason, data=data)


def _in_words(question: dict[str, Any], answer: dict[str, Any]) -> str:
    labels = {option["id"]: option["label"] for option in question["options"]}
    words = [labels[identifier] for identifier in answer["selected_option_ids"]]
    return "; ".join([*words, answer["freeform_answer"]] if answer["freeform_answer"] else words)
