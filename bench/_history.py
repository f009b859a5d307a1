"""What earlier measurements found, a line each in ``bench/history.jsonl``: a later one shows the change."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("history.jsonl")


def remember(workload: str, found: dict[str, Any]) -> None:
    """Append one measurement with when, what was measured and on what."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "workload": workload,
        "machine": {
            "arch": platform.machine(),
            "processors": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        },
        **found,
    }
    with FILE.open("a") as history:
        history.write(json.dumps(line) + "\n")


def _commit() -> str:
    """Return the commit that is measured, with a plus when something is changed in it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=FILE.parent, capture_output=True, text=True
    )
    return described.stdout.strip() or "unknown"
