"""Asking people: what a question may look like and what counts as an answer."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kheish_site.lib.errors import BadRequest
from sessions_app.tools import registry
from sessions_app.tools.ask_user_question import answer_result, check_answers, normalise_questions
from sessions_app.tools.base import ToolFailure


def option(label: str, **more) -> dict:
    return {"label": label, **more}


def question(text: str = "Which?", labels: str = "A B", **more) -> dict:
    return {"question": text, "options": [option(label) for label in labels.split()], **more}


def ask(*questions: dict, **more) -> dict:
    return {"questions": list(questions), **more}


def test_questions_get_every_field():
    asked = normalise_questions(ask(question(" Which? "), question("How?", multi_select=True, header="Way")))
    assert asked.questions[0] == {
        "id": "question-1",
        "header": "",
        "question": "Which?",
        "options": [
            {"id": "option-1", "label": "A", "description": ""},
            {"id": "option-2", "label": "B", "description": ""},
        ],
        "multi_select": False,
    }
    assert asked.questions[1]["multi_select"] is True
    assert (asked.expires_at, asked.expires_after_seconds) == (None, None)


def test_an_option_may_say_what_it_looks_like():
    options = [option("A", preview="- one\n+ two\n"), option("B", preview=" ")]
    (asked,) = normalise_questions(ask({"question": "Which?", "options": options})).questions
    assert asked["options"][0]["preview"] == "- one\n+ two\n"
    assert "preview" not in asked["options"][1]


BAD = {
    "no question": ask(),
    "five questions": ask(*(question(f"{n}?") for n in range(5))),
    "one option": ask(question(labels="A")),
    "five options": ask(question(labels="A B C D E")),
    "same text": ask(question("Which?"), question("which? ")),
    "same id": ask(question("1", id="x"), question("2", id="x")),
    "given id equals a made one": ask(question("1"), question("2", id="question-1")),
    "same label": ask(question(labels="A a")),
    "same option id": ask({"question": "?", "options": [option("A", id="x"), option("B", id="x")]}),
    "preview too long": ask({"question": "?", "options": [option("A", preview="x" * 10_001), option("B")]}),
    "blank text": ask(question("  ")),
    "blank label": ask({"question": "?", "options": [option(" "), option("B")]}),
    "both expiries": ask(question(), expires_at="2030-01-01T00:00:00Z", expires_after_seconds=5),
    "expiry of zero": ask(question(), expires_after_seconds=0),
    "no zone": ask(question(), expires_at="2030-01-01T00:00:00"),
    "no time": ask(question(), expires_at="soon"),
    "out of range": ask(question(), expires_at="0001-01-01T00:00:00+14:00"),
    "unknown field": ask(question(), urgent=True),
    "text no column holds": ask(question("a\x00b")),
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_bad_questions_are_refused(arguments):
    with pytest.raises(ToolFailure) as caught:
        normalise_questions(arguments)
    assert caught.value.code == "invalid_questions"


@pytest.mark.parametrize("name", ["five questions", "five options", "no question", "one option"])
def test_the_schema_already_refuses_wrong_counts(name):
    tool = registry.get("ask_user_question")
    assert tool.spec.suspends == "question"
    assert registry.validate(tool, BAD[name])


def test_expiry_is_kept_in_utc():
    asked = normalise_questions(ask(question(), expires_at="2030-01-01T02:00:00+02:00"))
    assert asked.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert normalise_questions(ask(question(), expires_after_seconds=60)).expires_after_seconds == 60


ASKED = normalise_questions(
    ask(question("One?", id="one"), question("Many?", "A B C", id="many", multi_select=True))
).questions


def said(identifier: str, *options: str, text: str | None = None) -> dict:
    return {"question_id": identifier, "selected_option_ids": list(options), "freeform_answer": text}


ONE, MANY = said("one", "option-1"), said("many", "option-1", "option-3", text="and more")


def test_answers_come_back_in_the_order_of_the_questions():
    assert check_answers(ASKED, [MANY, ONE], declined=False) == [
        {"question_id": "one", "selected_option_ids": ["option-1"], "freeform_answer": ""},
        {
            "question_id": "many",
            "selected_option_ids": ["option-1", "option-3"],
            "freeform_answer": "and more",
        },
    ]


def test_free_text_alone_is_an_answer():
    answers = [{"question_id": "one", "freeform_answer": " neither "}, MANY]
    assert check_answers(ASKED, answers, declined=False)[0]["freeform_answer"] == "neither"


@pytest.mark.parametrize(
    ("answers", "declined", "code"),
    [
        ([said("one", "option-9"), MANY], False, "question_option_not_found"),
        ([ONE], False, "question_answer_missing"),
        ([], False, "question_answer_missing"),
        ([ONE, ONE, MANY], False, "question_duplicate_answer"),
        ([ONE, said("many", "option-1", "option-1")], False, "question_duplicate_option"),
        ([ONE], True, "question_declined_with_answers"),
        ([said("one", "option-1", "option-2"), MANY], False, "question_single_select_violation"),
        ([said("one"), MANY], False, "question_answer_empty"),
        ([said("one", text="  "), MANY], False, "question_answer_empty"),
        ([ONE, MANY, said("three", "option-1")], False, "question_unknown_answer"),
        ("yes", False, "bad_request"),
        ([{"question_id": 1}], False, "bad_request"),
    ],
)
def test_answers_that_do_not_answer(answers, declined, code):
    with pytest.raises(BadRequest) as caught:
        check_answers(ASKED, answers, declined)
    assert (caught.value.error_code, caught.value.status) == (code, 400)


def test_declining_needs_no_answers():
    assert check_answers(ASKED, [], declined=True) == []


def test_the_model_reads_labels_not_ids():
    answers = check_answers(ASKED, [ONE, MANY], declined=False)
    assert answer_result(ASKED, answers, declined=False).content == "One? A\nMany? A; C; and more"
    declined = answer_result(ASKED, [], declined=True, justification="no time")
    assert declined.content == "The user declined to answer (no time)."


IDS = st.sampled_from(["one", "many", "three"])
OPTIONS = st.lists(st.sampled_from(["option-1", "option-2", "option-3", "option-4"]), max_size=4)


@given(
    answers=st.lists(
        st.builds(lambda i, o, t: said(i, *o, text=t), IDS, OPTIONS, st.none() | st.text(max_size=3))
    ),
    declined=st.booleans(),
)
def test_answers_are_accepted_whole_or_refused_with_a_code(answers, declined):
    try:
        accepted = check_answers(ASKED, answers, declined)
    except BadRequest:
        return
    assert [answer["question_id"] for answer in accepted] == ([] if declined else ["one", "many"])
