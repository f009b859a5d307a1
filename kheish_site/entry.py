"""Which part of the project answers ``manage.py WORD …``. Standard library only."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from kheish_site import bootstrap
from kheish_site.lib import collector

ROOT = Path(__file__).resolve().parent.parent

NOUNS = frozenset(
    {
        "sessions", "runs", "approvals", "questions", "decisions", "tasks", "assets", "deliveries",
        "personas", "routes", "secrets", "tokens", "connectors", "identities", "observations", "runtime",
        "audit", "status", "doctor", "capabilities", "events", "search",
    }
)  # fmt: skip
"""First words that are questions to a running service: its client needs nothing but Python."""


class Tool(NamedTuple):
    """A command that is not Django's: the module whose ``main(arguments)`` runs, and the lock it needs."""

    module: str
    lock: str
    about: str


TOOLS = {
    "serve": Tool("kheish_site.supervisor", bootstrap.RUNTIME_LOCK, "start the service on this machine"),
    "demo": Tool(
        "kheish_site.demo", bootstrap.RUNTIME_LOCK, "a service with an incident in it, killed and back"
    ),
    "test": Tool("kheish_site.testing.suite", bootstrap.DEVELOPMENT_LOCK, "all tests, in both profiles"),
    "lint": Tool("kheish_site.testing.lint", bootstrap.DEVELOPMENT_LOCK, "style, types, layers, migrations"),
    "torture": Tool(
        "kheish_site.torture", bootstrap.DEVELOPMENT_LOCK, "kill it everywhere, judge from outside"
    ),
    "bench": Tool("kheish_site.bench", bootstrap.DEVELOPMENT_LOCK, "measure it, beside bare Celery"),
    "screenshots": Tool("kheish_site.screenshots", bootstrap.BROWSER_LOCK, "pictures of the console"),
    "lock": Tool("kheish_site.testing.lock", bootstrap.DEVELOPMENT_LOCK, "pin the packages anew"),
}
HELP = ("help", "--help", "-h")
DJANGO_HELP = "python3 manage.py help --commands lists Django's own, such as migrate."


def run(arguments: Sequence[str]) -> int:
    """Run one command in an interpreter that holds what it needs, and return its exit code."""
    word = arguments[0] if arguments else HELP[0]
    if word in HELP and len(arguments) < 2:
        return _overview()
    if word in NOUNS:
        if "verify" in arguments:  # canonical JSON and signatures are work of libraries
            bootstrap.enter(ROOT, lock=bootstrap.RUNTIME_LOCK, arguments=arguments)
        return int(import_module("kheish_site.cli.main").console(arguments))
    if word not in TOOLS and (meant := _meant(word)):
        sys.stderr.write(
            f"error: no command {word!r}; did you mean {meant}?\n  See: python3 manage.py help\n"
        )
        return 2
    module, lock, _ = TOOLS.get(word, ("", bootstrap.RUNTIME_LOCK, ""))
    bootstrap.enter(ROOT, lock=lock, arguments=arguments)
    return _main(module, arguments[1:]) if module else _django(arguments)


def _overview() -> int:
    """Say what can be asked of a service, and how one is started; Django's own commands come last."""
    tools = "\n".join(f"  {name:14}{tool.about}" for name, tool in TOOLS.items())
    asked = import_module("kheish_site.cli.parser").overview()
    sys.stdout.write(f"{asked}\nHere\n{tools}\n\n  {DJANGO_HELP}\n")
    return 0


def _meant(word: str) -> str:
    """Return our word that ``word`` is almost; "" where none is, as with every command of Django."""
    close = get_close_matches(word, (*NOUNS, *TOOLS), n=1, cutoff=0.78)
    return close[0] if close else ""


def _main(module: str, arguments: Sequence[str]) -> int:
    """Call ``module.main``; imported late, because each command pays only for its own part."""
    return int(import_module(module).main(list(arguments)) or 0)


def _django(arguments: Sequence[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kheish_site.settings")
    collector.rarely()
    mistaken = import_module("django.core.exceptions").ImproperlyConfigured
    try:
        import_module("django.core.management").execute_from_command_line([sys.argv[0], *arguments])
    except mistaken as error:  # a setting of whoever starts it, not a fault of ours
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
