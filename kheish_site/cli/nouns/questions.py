"""`questions`: what an agent asked a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import BY_OWNER, PAGING, Command, Context, arg, given, listed
from kheish_site.cli.exits import UsageError
from kheish_site.cli.resources import QUESTION, show_list, show_one
from kheish_site.cli.text import clean, one_line
from kheish_site.cli.waiting import example_answer
from kheish_site.lib.visible import visible

Json = Any
Answer = dict[str, Any]


def list_questions(context: Context) -> None:
    show_list(context, QUESTION, path("questions"), listed(context.args))


def get(context: Context) -> None:
    item = context.client.get(path("questions", context.args.question_id))
    show_one(context, QUESTION, item)
    if context.out.mode == "human":
        for option in (option for question in item.get("questions") or [] for option in question["options"]):
            _show_preview(context, option, f"{option.get('label', option['id'])} looks like this:")
    if context.out.mode == "human" and item.get("status") == "pending":
        command = context.command(f"questions answer {item['question_id']} {example_answer(item)}")
        context.out.word(f"Answer: {command}", "dim")


def answer(context: Context) -> None:
    """Answer from the command line, or asked one by one on a terminal."""
    args = context.args
    item = context.client.get(path("questions", args.question_id))
    if args.choices or args.text:
        answers = build_answers(item["questions"], args.choices, args.text or [])
    elif context.interactive:
        answers = [_ask(context, question) for question in item["questions"]]
    else:
        raise UsageError("no answer given", cure=f"For instance: {_example(context, item)}")
    body = {"answers": answers, "declined": False, **given(args, "justification")}
    show_one(
        context,
        QUESTION,
        context.client.request("POST", path("questions", args.question_id, "resolve"), body),
    )


def decline(context: Context) -> None:
    args = context.args
    body = {"answers": [], "declined": True, **given(args, "justification")}
    show_one(
        context,
        QUESTION,
        context.client.request("POST", path("questions", args.question_id, "resolve"), body),
    )


def build_answers(questions: list[Json], choices: list[str], texts: list[str]) -> list[Answer]:
    """Answers from `OPTION` or `QUESTION=OPTION,OPTION`, and free text likewise. Raises UsageError."""
    answers: dict[str, Answer] = {}
    for choice in choices:
        question, value = _split(questions, choice)
        chosen = (
            [pick(question, value)]
            if _is_option(question, value)
            else [pick(question, v) for v in value.split(",")]
        )
        _slot(answers, question)["selected_option_ids"] += chosen
    for text in texts:
        question, value = _split(questions, text)
        _slot(answers, question)["freeform_answer"] = value
    return list(answers.values())


def pick(question: Mapping[str, Any], value: str) -> str:
    """The id of the option called `value` by id, label or place (from 1). Raises UsageError."""
    options = question.get("options") or []
    wanted = value.strip().casefold()
    for option in options:
        if wanted in (str(option["id"]).casefold(), str(option.get("label", "")).casefold()):
            return str(option["id"])
    if wanted.isdecimal() and 1 <= int(wanted) <= len(options):
        return str(options[int(wanted) - 1]["id"])
    names = ", ".join(str(option["id"]) for option in options)
    raise UsageError(
        f"{question['id']} has no option {value!r}", cure=f"There are: {names}; or --text for your own words."
    )


def _is_option(question: Mapping[str, Any], value: str) -> bool:
    wanted = value.strip().casefold()
    return any(
        wanted in (str(o["id"]).casefold(), str(o.get("label", "")).casefold()) for o in question["options"]
    )


def _split(questions: list[Json], text: str) -> tuple[Json, str]:
    """Which question a word answers: the one named before `=`, or the only one."""
    name, equals, value = text.partition("=")
    for question in questions:
        if equals and question["id"] == name:
            return question, value
    if len(questions) == 1:
        return questions[0], text
    names = ", ".join(str(question["id"]) for question in questions)
    raise UsageError(f"which question does {text!r} answer?", cure=f"Write QUESTION=…, with one of: {names}")


def _slot(answers: dict[str, Answer], question: Json) -> Answer:
    return answers.setdefault(question["id"], {"question_id": question["id"], "selected_option_ids": []})


def _ask(context: Context, question: Json) -> Answer:
    options = question.get("options") or []
    context.out.word(clean(question["question"]), "bold")
    for number, option in enumerate(options, start=1):
        described = f"  {option['description']}" if option.get("description") else ""
        context.out.word(f"  {number}. {option.get('label', option['id'])}{described}")
        _show_preview(context, option)
    several = ", several with commas" if question.get("multi_select") else ""
    while True:
        given_text = context.ask(f"Number{several}, or your own words:")
        parts = [part.strip() for part in given_text.split(",")]
        if given_text and all(part.isdecimal() and 1 <= int(part) <= len(options) for part in parts):
            picked = [str(options[int(part) - 1]["id"]) for part in parts]
            return {"question_id": question["id"], "selected_option_ids": picked}
        if given_text:
            return {"question_id": question["id"], "selected_option_ids": [], "freeform_answer": given_text}


def _show_preview(context: Context, option: Json, title: str = "") -> None:
    """What the option looks like, indented; what is invisible is written out."""
    if preview := option.get("preview"):
        if title:
            context.out.word(one_line(title), "dim")
        for line in str(preview).split("\n"):
            context.out.word(f"     | {visible(line)}")


def _example(context: Context, item: Mapping[str, Any]) -> str:
    return context.command(f"questions answer {item['question_id']} {example_answer(item)}")


QUESTION_ID = arg("question_id", metavar="QUESTION", help="id of the question")
WHY = arg("--justification", metavar="TEXT", help="why, for the record")

COMMANDS = (
    Command(
        noun="questions",
        verb="list",
        help="list open questions",
        run=list_questions,
        arguments=(
            *BY_OWNER,
            arg(
                "--status",
                default="pending",
                metavar="STATUS",
                help="pending (default), answered, declined, expired, cancelled, all",
            ),
            *PAGING,
        ),
    ),
    Command(
        noun="questions",
        verb="get",
        help="show one question with its options",
        run=get,
        arguments=(QUESTION_ID,),
    ),
    Command(
        noun="questions",
        verb="answer",
        help="answer a question",
        run=answer,
        arguments=(
            QUESTION_ID,
            arg(
                "choices",
                metavar="OPTION",
                nargs="*",
                help="an option, or QUESTION=OPTION[,OPTION] when there are several",
            ),
            arg(
                "--text",
                metavar="TEXT",
                action="append",
                help="an answer in your own words, or QUESTION=TEXT",
            ),
            WHY,
        ),
    ),
    Command(
        noun="questions", verb="decline", help="refuse to answer", run=decline, arguments=(QUESTION_ID, WHY)
    ),
)
