"""``manage.py lint``: style, types, import contracts, system check and migration check."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("kheish_site", "sessions_app", "channels_app", "connectors_app", "bench")
CHECKS: tuple[tuple[str, ...], ...] = (
    ("-m", "ruff", "check", "--quiet", "."),
    ("-m", "ruff", "format", "--check", "--quiet", "."),
    ("-m", "mypy", "--no-error-summary", *PACKAGES),
    ("-c", "from importlinter.cli import lint_imports_command as run; run()"),
    ("manage.py", "check", "--fail-level", "WARNING"),
    ("manage.py", "makemigrations", "--check", "--dry-run"),
)


def main(arguments: Sequence[str]) -> int:
    """Run every check and say which failed; 0 when none did."""
    with tempfile.TemporaryDirectory(prefix="kheish-lint-") as state_dir:
        environment = os.environ | {"KHEISH_STATE_DIR": state_dir}
        failed = [check for check in CHECKS if not _passes(check, environment)]
    for check in failed:
        print(f"failed: python {' '.join(check)}", file=sys.stderr)
    print(f"{len(CHECKS) - len(failed)} checks passed, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def _passes(check: Sequence[str], environment: dict[str, str]) -> bool:
    return subprocess.run([sys.executable, *check], cwd=ROOT, env=environment).returncode == 0
