"""Which part of the project answers ``manage.py WORD …``. Standard library only."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

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

TOOLS = {
    "serve": ("kheish_site.supervisor", bootstrap.RUNTIME_LOCK),
    "test": ("kheish_site.testing.suite", bootstrap.DEVELOPMENT_LOCK),
    "lint": ("kheish_site.testing.lint", bootstrap.DEVELOPMENT_LOCK),
    "lock": ("kheish_site.testing.lock", bootstrap.DEVELOPMENT_LOCK),
    "demo": ("kheish_site.demo", bootstrap.RUNTIME_LOCK),
    "screenshots": ("kheish_site.screenshots", bootstrap.BROWSER_LOCK),
    "bench": ("kheish_site.bench", bootstrap.DEVELOPMENT_LOCK),
    "torture": ("kheish_site.torture", bootstrap.DEVELOPMENT_LOCK),
}
"""Commands that are not Django's: the module whose ``main(arguments)`` runs, and the lock it needs."""


def run(arguments: Sequence[str]) -> int:
    """Run one command in an interpreter that holds what it needs, and return its exit code."""
    word = arguments[0] if arguments else "help"
    if word in NOUNS:
        if "verify" in arguments:  # canonical JSON and signatures are work of libraries
            bootstrap.enter(ROOT, lock=bootstrap.RUNTIME_LOCK, arguments=arguments)
        return _main("kheish_site.cli.main", arguments)
    module, lock = TOOLS.get(word, ("", bootstrap.RUNTIME_LOCK))
    bootstrap.enter(ROOT, lock=lock, arguments=arguments)
    return _main(module, arguments[1:]) if module else _django(arguments)


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
