"""A pytest plugin that writes down how many tests passed and failed, for the last line of the suite."""

import json
import os
from pathlib import Path
from typing import Any

TALLY_VARIABLE = "KHEISH_TEST_TALLY"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write ``{"passed": n, "failed": n}``; an error while setting up or tearing down is a failure."""
    counted = {
        outcome: len(terminalreporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "error")
    }
    told = {"passed": counted["passed"], "failed": counted["failed"] + counted["error"]}
    Path(os.environ[TALLY_VARIABLE]).write_text(json.dumps(told))
