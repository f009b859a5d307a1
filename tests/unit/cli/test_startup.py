"""The command line must not pay for Django, and its table must be whole."""

import argparse
import subprocess
import sys

import pytest

from kheish_site.cli import parser
from kheish_site.cli.parser import COMMANDS, build_parser
from tests.unit.cli.fake_service import Answer

CHECK = """
import sys
import kheish_site.cli.main
heavy = {"django", "celery", "channels", "rest_framework", "openai", "httpx", "sessions_app"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_importing_the_command_line_loads_no_framework() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_command_has_its_own_name() -> None:
    names = [f"{command.noun} {command.verb}".strip() for command in COMMANDS]
    assert len(names) == len(set(names))


def test_every_noun_is_described() -> None:
    assert {command.noun for command in COMMANDS if command.verb} == set(parser.NOUNS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.noun} {command.verb}".strip())
def test_every_argument_has_help(command: parser.Command) -> None:
    assert command.help
    assert all(argument.options.get("help") for argument in command.arguments)


def test_every_subparser_has_help() -> None:
    unexplained, todo = [], [build_parser()]
    while todo:
        for action in todo.pop()._actions:
            if isinstance(action, argparse._SubParsersAction):
                explained = {choice.dest for choice in action._choices_actions if choice.help}
                aliases = {"submit"}
                unexplained += [name for name in action.choices if name not in explained | aliases]
                todo += action.choices.values()
    assert unexplained == []


def test_alone_it_prints_an_overview(kheish) -> None:
    result = kheish()
    assert result.code == 0
    assert "kheish sessions create demo" in result.out
    assert "approvals" in result.out


def test_a_noun_alone_lists_its_verbs(kheish) -> None:
    result = kheish("approvals")
    assert result.code == 2
    assert "allow-all" in result.err


def test_a_wrong_verb_is_a_usage_error(kheish, capsys) -> None:
    assert kheish("runs", "fly").code == 2
    assert "kheish runs --help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("runs wach", "no verb 'wach'; did you mean watch?"),
        ("sessions reply-targets sett", "no verb 'sett'; did you mean set?"),
        ("runz list", "no noun 'runz'; did you mean runs?"),
        ("decisions decide d1 hapened", "no outcome 'hapened'; did you mean happened?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_one_that_was_meant(kheish, capsys, argv, told) -> None:
    assert kheish(*argv.split()).code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "prog"),
    [
        ("observations sources list --colour", "observations sources list"),
        ("runs list --colour=red", "runs list"),
        ("runs get run_1 --colour", "runs get"),
        ("runs --colour list", "runs"),
        ("--colour runs list", ""),
    ],
)
def test_an_unknown_option_shows_the_usage_of_its_command(kheish, capsys, argv, prog) -> None:
    assert kheish(*argv.split()).code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"usage: kheish {prog} ".replace("  ", " ") + "[-h]")
    assert "--colour" in told and f"See: kheish {prog} --help".replace("  ", " ") in told


def test_bytes_that_are_no_text_are_a_usage_error(kheish) -> None:
    result = kheish("sessions", "get", b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert (result.code, result.err) == (2, "error: an argument is not text in UTF-8\n")


@pytest.mark.parametrize("answer", [{}, "hello"])
def test_an_answer_of_something_else_is_named(kheish, service, answer) -> None:
    service.on("GET", "/v1/sessions", answer)
    result = kheish("sessions", "list")
    assert result.code == 1
    assert result.err.startswith("error: the answer ") and f"Is {service.url} Kheish" in result.err


@pytest.mark.parametrize("status", [302, 404])
@pytest.mark.parametrize("body", ["<h1>Not Found</h1>", {"detail": "Not Found"}])
def test_a_refusal_of_something_else_is_named(kheish, service, status, body) -> None:
    service.on("GET", "/v1/sessions", Answer(status, body))
    result = kheish("sessions", "list")
    assert result.code == 1 and f"Is {service.url} Kheish" in result.err
    assert f"only {status} " in result.err and "comes from KHEISH_URL" in result.err


def test_help_tells_the_exit_codes(kheish, capsys) -> None:
    assert kheish("--help").code == 0
    assert "waits for a person" in capsys.readouterr().out


def test_global_flags_work_before_and_after_the_verb(kheish, service) -> None:
    service.on("GET", "/v1/runs/run_1", {"run_id": "run_1", "status": "queued"})
    assert kheish("--quiet", "runs", "get", "run_1").out == "run_1\n"
    assert kheish("runs", "get", "run_1", "--quiet").out == "run_1\n"
