"""``manage.py test [--fast] [--browser] [--profile P] [pytest arguments]``.

The suite runs twice: on SQLite, and on a real PostgreSQL and a real Redis-compatible server. What is the
same in both runs in the first only (see tests/conftest.py).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from kheish_site import bootstrap
from kheish_site.testing.browser import install_browser
from kheish_site.testing.servers import servers
from kheish_site.testing.tally import TALLY_VARIABLE

ROOT = Path(__file__).resolve().parent.parent.parent
PROFILES = ("embedded", "services")
NOTHING_COLLECTED = 5
MOST = 8
"""Processes of tests: each needs seven of the broker's databases."""


def main(arguments: Sequence[str]) -> int:
    """Run the tests; 0 when at least one ran and all passed."""
    options, passed_on = _parser().parse_known_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    if options.browser:
        install_browser()
        bootstrap.enter(ROOT, lock=bootstrap.BROWSER_LOCK, arguments=["test", *arguments])
    selection = [*_marks(options), *passed_on]
    profiles = [options.profile] if options.profile else PROFILES[:1] if options.fast else PROFILES
    results = [_run(profile, selection) for profile in profiles]
    return _conclude(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py test", description="Run the test suite.", allow_abbrev=False
    )
    parser.add_argument("--fast", action="store_true", help="the embedded profile without slow tests")
    parser.add_argument("--browser", action="store_true", help="install a browser and run its tests too")
    parser.add_argument("--profile", choices=PROFILES, help="run one profile only")
    return parser


def _marks(options: argparse.Namespace) -> list[str]:
    left_out = [*(["slow"] if options.fast else []), *([] if options.browser else ["browser"])]
    return ["-m", " and ".join(f"not {mark}" for mark in left_out)] if left_out else []


def _run(profile: str, selection: Sequence[str]) -> dict[str, int]:
    print(f"\n== {profile} profile", flush=True)
    if profile == "embedded":
        return _pytest({"KHEISH_TEST_PROFILE": profile}, selection)
    with servers() as named:
        return _pytest({"KHEISH_TEST_PROFILE": profile, **named}, selection)


def _pytest(environment: Mapping[str, str], selection: Sequence[str]) -> dict[str, int]:
    """One pytest run; returns its tally, with ``code``."""
    with tempfile.TemporaryDirectory(prefix="kheish-tally-") as folder:
        tally = Path(folder) / "tally.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "kheish_site.testing.tally",
            *_workers(selection),
            *selection,
        ]
        told = os.environ | environment | {TALLY_VARIABLE: str(tally)}
        # Hundreds of processes load the same code: it is compiled once.
        told.pop("PYTHONDONTWRITEBYTECODE", None)
        code = subprocess.run(command, cwd=ROOT, env=told).returncode
        counted = json.loads(tally.read_text()) if tally.exists() else {"passed": 0, "failed": 0}
        return {**counted, "code": code}


def _workers(selection: Sequence[str]) -> list[str]:
    """Some at a time, file by file; one when somebody is looking at a single test or asked otherwise.

    One more than processors, as some tests mostly wait; in the order of tests/conftest.py.
    """
    asked = any(argument.startswith(("-n", "--numprocesses", "--pdb", "-x", "-s")) for argument in selection)
    if asked or (os.cpu_count() or 1) < 2:
        return []
    return ["-n", str(min((os.cpu_count() or 1) + 1, MOST)), "--dist", "loadfile", "--no-loadscope-reorder"]


def _conclude(results: Sequence[Mapping[str, int]]) -> int:
    passed = sum(result["passed"] for result in results)
    failed = sum(result["failed"] for result in results)
    broken = [result["code"] for result in results if result["code"] not in (0, NOTHING_COLLECTED)]
    if not passed and not failed:
        print("No test ran.", file=sys.stderr)
    elif broken and not failed:
        print(f"pytest ended with exit code {broken[0]}.", file=sys.stderr)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if broken or failed or not passed else 0


def _leave(number: int, frame: FrameType | None) -> None:
    """SIGTERM: unwind, so that the servers are stopped."""
    sys.exit(128 + number)
