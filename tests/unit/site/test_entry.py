"""Which part of the project answers a first word."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands

from kheish_site import entry
from kheish_site.cli import main, parser

ROOT = Path(entry.__file__).resolve().parent.parent


def manage(word, **settings):
    command = [sys.executable, "manage.py", word]
    told = {"PATH": "/usr/bin:/bin", **settings}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=told)


def test_every_noun_of_the_client_is_sent_to_it():
    assert {command.noun for command in parser.COMMANDS} == entry.NOUNS


def test_the_client_needs_nothing_installed():
    python = Path(sys.base_prefix) / "bin" / "python3"
    ask = "from kheish_site.entry import NOUNS, run; print([n for n in sorted(NOUNS) if run([n, '--help'])])"
    told = subprocess.run(
        [python, "-S", "-W", "error", "-c", ask],
        cwd=ROOT, capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin"},
    )  # fmt: skip
    assert (told.returncode, told.stdout.splitlines()[-1]) == (0, "[]"), told.stderr
    assert told.stdout.count("usage: ") == len(entry.NOUNS)


def test_a_noun_is_the_installed_program(monkeypatch):
    monkeypatch.setattr(main, "console", lambda words: len(words))
    assert entry.run(["sessions", "get", "demo"]) == 3


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], ["-h"]])
def test_a_newcomer_is_shown_what_there_is(words, capsys):
    assert entry.run(words) == 0
    shown = capsys.readouterr().out
    for word in (*entry.TOOLS, *entry.NOUNS):
        assert f"\n  {word} " in shown, word
    assert "help --commands" in shown


def test_a_setting_that_cannot_be_is_named_in_one_line():
    told = manage("check", KHEISH_WEB_PROCESSES="0")
    assert told.returncode == 1
    assert told.stderr == "KHEISH_WEB_PROCESSES must be between 1 and 64, not 0\n"


def test_anything_else_is_djangos():
    told = manage("no-such-command")
    assert told.returncode == 1
    assert "no-such-command" in told.stderr


@pytest.mark.parametrize(
    ("word", "meant"), [("sesions", "sessions"), ("approval", "approvals"), ("serv", "serve")]
)
def test_a_word_that_is_almost_ours_is_named(word, meant, capsys):
    assert entry.run([word]) == 2
    assert capsys.readouterr().err == (
        f"error: no command {word!r}; did you mean {meant}?\n  See: python3 manage.py help\n"
    )


def test_no_command_of_django_is_taken_for_a_mistake_of_ours(monkeypatch):
    theirs = sorted(set(get_commands()) - set(entry.TOOLS))
    answered = []
    monkeypatch.setattr(entry.bootstrap, "enter", lambda *_, **__: None)
    monkeypatch.setattr(entry, "_django", lambda arguments: answered.append(*arguments) or 0)
    assert [entry.run([name]) for name in theirs] == [0] * len(theirs)
    assert answered == theirs
