"""Every workload at its full size, one after the other: what a quiet machine is asked before a release.

It takes half an hour. A workload that fails does not keep the others from being measured.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from bench._processes import ROOT
from bench._service import say

MEASUREMENTS: Final = (
    "accept",
    "runs --rounds 3",
    "runs --rounds 3 --tool",
    "runs --model-ms 1000 --sessions 8 32 --seconds 15",
    "runs --profile embedded --rounds 3",
    "order",
    "waiting",
    "streams",
    "approvals",
    "deliveries",
    "ingress",
    "history",
    "recovery",
    "finished",
)


def main(arguments: Sequence[str]) -> int:
    """Measure and remember everything. 0 when every measurement was made."""
    argparse.ArgumentParser(prog="manage.py bench all", description=__doc__).parse_args(arguments)
    failed = []
    for words in MEASUREMENTS:
        say(f"\nbench {words}")
        command = [sys.executable, str(ROOT / "manage.py"), "bench", *words.split()]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(words)
    for words in failed:
        say(f"failed: bench {words}")
    return 1 if failed else 0
