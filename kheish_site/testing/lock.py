"""``manage.py lock``: write the lock files, with hashes, from their ``.in`` files.

Needs ``uv`` on the PATH. The locks hold for every platform and Python from 3.11 on, and name no index:
whoever installs uses the one they are configured for.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OPTIONS = ("--generate-hashes", "--universal", "--python-version", "3.11", "--no-emit-index-url")
QUIET = ("--no-annotate", "--no-header", "--quiet")


def main(arguments: Sequence[str]) -> int:
    """Lock the runtime first: the development lock is constrained by it. ``--upgrade`` is passed on."""
    uv = shutil.which("uv")
    if uv is None:
        print("uv is not on the PATH; see https://docs.astral.sh/uv/", file=sys.stderr)
        return 1
    for name in ("requirements", "requirements-dev", "requirements-browser"):
        command = [uv, "pip", "compile", f"{name}.in", "-o", f"{name}.txt", *OPTIONS, *QUIET, *arguments]
        if subprocess.run(command, cwd=ROOT).returncode:
            return 1
    return 0
