"""What earlier measurements found, a line each in ``bench/history.jsonl``: a later one shows the change."""

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench._machine import Machine

FILE: Final = Path(__file__).with_name("history.jsonl")


def remember(workload: str, machine: Machine, found: Mapping[str, Any], file: Path = FILE) -> None:
    """Append one measurement with when, what was measured and on what."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "workload": workload,
        "machine": machine.as_json(),
        **found,
    }
    with file.open("a") as history:
        history.write(json.dumps(line) + "\n")


def recall(file: Path = FILE) -> list[dict[str, Any]]:
    """Return all measurements, oldest first."""
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def _commit() -> str:
    """Return the commit that is measured, with a plus when something is changed in it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=FILE.parent, capture_output=True, text=True
    )
    return described.stdout.strip() or "unknown"
